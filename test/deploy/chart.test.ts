/** The promises of the chart about the objects that it makes, for each values file of its folder ci/. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { ConfigError, readConfig, SETTINGS } from "../../src/config/config.ts";
import { CHART, type Container, containerOf, objectOf, objectsOf, podOf, VARIANTS } from "./rendered.ts";

const SETTING_NAMES = Object.values(SETTINGS).map((row): string => row.name);
const SECRETS: Readonly<Record<string, string>> = {
  DATABASE_URL: "postgres://latchkey:correct-horse@database.example/latchkey?sslmode=verify-full&sslrootcert=system",
  REDIS_URL: "rediss://latchkey:battery-staple@redis.example:6379",
  REDIS_CLUSTER_NODES: "rediss://latchkey:battery-staple@redis.example:6379",
  LATCHKEY_MASTER_KEYS: `1:${Buffer.from(Array.from({ length: 32 }, (_, i) => i)).toString("base64")}`,
  LATCHKEY_WEBHOOK_SECRETS: `whsec_${Buffer.alloc(32, "latchkey").toString("base64")}`,
};
const PODS = VARIANTS.flatMap((variant) => [[variant, "Deployment"] as const, [variant, "Job"] as const]);

it("has four values files, of which one uses every value", () => {
  expect([...VARIANTS].sort()).toEqual(["everything", "plaintext", "tls", "workers"]);
  const values = parse(readFileSync(join(CHART, "values.yaml"), "utf8")) as Record<string, unknown>;
  const everything = parse(readFileSync(join(CHART, "ci/everything-values.yaml"), "utf8")) as Record<string, unknown>;
  // The autoscaler decides the number of pods there.
  expect(Object.keys(values).filter((name) => !(name in everything))).toEqual(["replicas"]);
});

describe.each(PODS)("the pod of %s, %s,", (variant, kind) => {
  const pod = podOf(variant, kind);
  const container = containerOf(variant, kind);

  it("has an environment that the service accepts in production, and no other setting", () => {
    const env = environmentOf(container);
    const unknown = Object.keys(env).filter((name) => !SETTING_NAMES.includes(name) && !name.startsWith("OTEL_"));
    expect(unknown).toEqual([]);
    expect(faultsOf(env)).toEqual([]);
  });

  it("names each variable once, and takes each secret from a Secret", () => {
    const names = container.env.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    const referenced = container.env.filter(({ valueFrom }) => valueFrom !== undefined).map(({ name }) => name);
    expect(referenced).toEqual(expect.arrayContaining(["DATABASE_URL", "LATCHKEY_MASTER_KEYS"]));
    expect(container.env.filter(({ name, value }) => name in SECRETS && value !== undefined)).toEqual([]);
  });

  it("runs as the user of the image, without root, a writable image, a capability or a token", () => {
    expect(pod).toMatchObject({
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      securityContext: {
        runAsNonRoot: true,
        runAsUser: 1000,
        runAsGroup: 1000,
        fsGroup: 1000,
        seccompProfile: { type: "RuntimeDefault" },
      },
    });
    expect(container).toMatchObject({
      securityContext: {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      },
    });
    for (const way of ["hostNetwork", "hostPID", "hostIPC", "initContainers"]) expect(pod).not.toHaveProperty(way);
  });

  it("bounds CPU and memory, with limits of at least the requests", () => {
    const { requests, limits } = container.resources;
    expect(mebibytes(limits.memory)).toBeGreaterThanOrEqual(mebibytes(requests.memory));
    expect(cores(limits.cpu)).toBeGreaterThanOrEqual(cores(requests.cpu));
  });

  it("mounts each volume as a folder, because a subPath would never show a new certificate", () => {
    const names = pod.volumes.map(({ name }) => name);
    expect(container.volumeMounts.map(({ name }) => name).sort()).toEqual([...names].sort());
    expect(container.volumeMounts.filter(({ subPath }) => subPath !== undefined)).toEqual([]);
  });
});

describe.each(VARIANTS)("the Deployment of %s", (variant) => {
  const pod = podOf(variant, "Deployment");
  const container = containerOf(variant, "Deployment");
  const env = environmentOf(container);

  it("leaves a pod the time of preStop and of its longest drain before it is killed", () => {
    const [command, seconds] = container.lifecycle!.preStop.exec.command;
    expect(command).toBe("sleep");
    const drainS = Number(env.LATCHKEY_DRAIN_SECONDS);
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(Number(seconds) + drainS + 15);
  });

  it("listens on the ports that it names, and probes them", () => {
    const { listen, opsListen } = readConfig(env);
    expect(container.ports).toEqual([
      { name: "grpc", containerPort: listen.port },
      { name: "ops", containerPort: opsListen.port },
    ]);
    const healthz = { path: "/healthz", port: "ops" };
    expect(container.startupProbe!.httpGet).toEqual(healthz);
    expect(container.livenessProbe!.httpGet, "no flood of calls may restart a pod").toEqual(healthz);
    const { grpc, httpGet } = container.readinessProbe!;
    expect(grpc ?? httpGet).toEqual(grpc === undefined ? healthz : { port: listen.port });
  });

  it("asks the port of callers by gRPC only if it speaks plaintext and has one process", () => {
    const { tls, workers } = readConfig(env);
    expect(container.readinessProbe!.grpc !== undefined).toBe(tls === undefined && workers === 1);
  });

  it("lets a start say why it failed before Kubernetes ends it: the service waits a minute for PostgreSQL", () => {
    const { periodSeconds, failureThreshold } = container.startupProbe!;
    expect(periodSeconds * failureThreshold).toBeGreaterThanOrEqual(60 + 30);
  });

  it("divides limits by as many replicas as there may be", () => {
    const { spec } = objectOf(variant, "Deployment") as unknown as { spec: { replicas?: number } };
    const scaler = objectsOf(variant).find(({ kind }) => kind === "HorizontalPodAutoscaler") as
      | { spec: { maxReplicas: number } }
      | undefined;
    expect(env.LATCHKEY_REPLICAS).toBe(`${spec.replicas ?? scaler?.spec.maxReplicas}`);
    expect(spec.replicas === undefined, "an upgrade must not undo the autoscaler").toBe(scaler !== undefined);
  });

  it("has memory for the keys that its workers may keep, by half of the limit, which is what V8 takes", () => {
    const { workers, cachedKeys } = readConfig(env);
    if (variant === "everything") return; // Its resources are the operator's.
    const needed = workers * (400 + (cachedKeys * 1.5) / 1024);
    expect(mebibytes(container.resources.requests.memory)).toBeGreaterThan(needed);
    expect(mebibytes(container.resources.limits.memory)).toBeGreaterThanOrEqual(2 * needed);
  });

  it("applies no migration at the start, because the Job has done so before", () => {
    expect(env.LATCHKEY_MIGRATE).toBe("false");
    const { annotations } = objectOf(variant, "Job").metadata;
    expect(annotations?.["helm.sh/hook"]).toBe("pre-install,pre-upgrade");
    const { command, image } = containerOf(variant, "Job");
    expect({ command, image }).toEqual({ command: ["node", "src/cli/migrate.ts"], image: container.image });
  });
});

describe.each(VARIANTS)("the other objects of %s", (variant) => {
  const selector = { matchLabels: podLabels(variant, "Deployment") };

  it("choose the pods of the service, and never the pod of the migration", () => {
    const chosen = ["Service", "PodDisruptionBudget", "NetworkPolicy"].map((kind) => objectOf(variant, kind).spec);
    const selectors = chosen.map((spec: Record<string, unknown>) => spec.selector ?? spec.podSelector) as object[];
    for (const each of selectors) {
      const labels = "matchLabels" in each ? each.matchLabels : each;
      expect(selector.matchLabels).toMatchObject(labels as object);
      expect(podLabels(variant, "Job")).not.toMatchObject(labels as object);
    }
  });

  it("have no Secret, and no value that production calls a secret", () => {
    expect(objectsOf(variant).map(({ kind }) => kind)).not.toContain("Secret");
    expect(JSON.stringify(objectsOf(variant))).not.toMatch(/postgres(ql)?:\/\/|rediss?:\/\/|kit_/);
  });

  it("let callers reach the RPCs alone, and Prometheus the second port alone", () => {
    const { ingress } = objectOf(variant, "NetworkPolicy").spec as unknown as {
      ingress: { from: unknown[]; ports: { port: string }[] }[];
    };
    expect(ingress.map(({ ports }) => ports.map(({ port }) => port))).toEqual([["grpc"], ["ops"]]);
    for (const { from } of ingress) expect(from.length, "an empty list lets everyone in").toBeGreaterThan(0);
  });

  it("offer the second port to Prometheus alone: no Service of callers has it", () => {
    const services = objectsOf(variant).filter(({ kind }) => kind === "Service");
    const ports = services.map(({ metadata, spec }) => [
      metadata.name.split("-").at(-1),
      (spec as { ports?: { targetPort: string }[] }).ports!.map(({ targetPort }) => targetPort),
    ]);
    expect(Object.fromEntries(ports)).toMatchObject({ headless: ["grpc"], ops: ["ops"] });
    expect(ports.filter(([, targets]) => targets!.includes("ops"))).toHaveLength(1);
  });
});

function podLabels(variant: string, kind: "Deployment" | "Job"): Readonly<Record<string, string>> {
  const { template } = objectOf(variant, kind).spec as unknown as {
    template: { metadata: { labels: Record<string, string> } };
  };
  return template.metadata.labels;
}

/** The environment as the container gets it, with stand-ins for what its Secrets hold. */
function environmentOf({ env }: Container): Record<string, string> {
  return Object.fromEntries(env.map(({ name, value }) => [name, value ?? SECRETS[name] ?? `no secret for ${name}`]));
}

function faultsOf(env: Record<string, string>): readonly string[] {
  try {
    readConfig(env);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
}

function mebibytes(quantity: string): number {
  const [, amount, unit] = /^([\d.]+)(Mi|Gi)$/.exec(quantity) ?? [];
  return Number(amount) * (unit === "Gi" ? 1024 : 1);
}

function cores(quantity: string): number {
  return quantity.endsWith("m") ? Number(quantity.slice(0, -1)) / 1000 : Number(quantity);
}
