/** Helm on the chart: what it renders, what it refuses, and whether Kubernetes' own types know the result. */
import { spawnSync } from "node:child_process";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { hasTools } from "../interop/tools.ts";
import { CHART, GOLDEN, VARIANTS } from "./rendered.ts";

const isThere = hasTools(
  [["helm", "version"], "`go install helm.sh/helm/v3/cmd/helm` in the version of .ci/run"],
  [["go", "version"], "install Go"],
);

describe.skipIf(!isThere)("Helm", () => {
  it.each(VARIANTS)("has nothing to say about the chart with the values %s", (variant) => {
    expect(helm("lint", "--strict", "--quiet", CHART, "--values", valuesFile(variant))).toEqual({
      status: 0,
      stdout: expect.not.stringMatching(/WARNING|ERROR/),
      stderr: "",
    });
  });

  // `npx vitest run --project interop test/deploy/chart.interop.ts --update` writes the files after a wanted change.
  it.each(VARIANTS)("renders the values %s as its file in golden/ has it", async (variant) => {
    const { stdout, stderr } = template("--values", valuesFile(variant));
    expect(stderr).toBe("");
    await expect(stdout).toMatchFileSnapshot(join(GOLDEN, `${variant}.yaml`));
  });

  it.each([
    ["a misspelt setting", "settings.LATCHKEY_TEIRS=basic:1/1", "'LATCHKEY_TEIRS' not allowed"],
    ["a setting that a value decides", "settings.LATCHKEY_REPLICAS=3", "'LATCHKEY_REPLICAS' not allowed"],
    ["a secret among the settings", "settings.DATABASE_URL=postgres://a:b@c/d", "'DATABASE_URL' not allowed"],
    ["a misspelt value", "replica=3", "'replica' not allowed"],
    ["no replica", "replicas=0", "at '/replicas': minimum"],
    ["a drain that the service refuses", "drainSeconds=301", "at '/drainSeconds': maximum"],
    ["no image", "image.repository=", "image.repository: name the registry and the image"],
    ["no issuer", "issuer=", "issuer: set the https URL that access tokens name as their issuer"],
    ["neither TLS nor a word about it", "plaintext=false", "or set plaintext=true if a mesh or a proxy ends TLS"],
    ["no Secret of PostgreSQL", "database.existingSecret=", "database.existingSecret: name the Secret"],
    ["no Secret of Redis", "redis.existingSecret=", "redis.existingSecret: name the Secret"],
    ["no Secret of master keys", "masterKeys.existingSecret=", "masterKeys.existingSecret: name the Secret"],
    ["rules without a file", "prometheusRule.enabled=true", "prometheusRule.rules: give the file with --set-file"],
  ])("refuses %s", (_what, set, sentence) => {
    const { status, stdout, stderr } = template("--values", valuesFile("plaintext"), "--set", set);
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    expect(stderr).toContain(sentence);
  });

  it("lets a single pod run without Redis, if the settings say so", () => {
    const settings = "settings.LATCHKEY_ALLOW_IN_PROCESS_LIMITS=true,redis.existingSecret=,replicas=1";
    const { status, stdout } = template("--values", valuesFile("plaintext"), "--set", settings);
    expect(status).toBe(0);
    expect(stdout).toContain("LATCHKEY_ALLOW_IN_PROCESS_LIMITS");
    expect(stdout).not.toContain("REDIS_URL");
  });

  it("takes the alert rules of deploy/prometheus as they are", () => {
    const rules = join(CHART, "../../prometheus/latchkey.rules.yml");
    const set = ["--set", "prometheusRule.enabled=true", "--set-file", `prometheusRule.rules=${rules}`];
    const { stdout } = template(
      "--values",
      valuesFile("plaintext"),
      ...set,
      "--show-only",
      "templates/prometheus.yaml",
    );
    expect((parse(stdout) as { spec: unknown }).spec).toEqual(parse(readFileSync(rules, "utf8")));
  });

  it("leaves out each part that is switched off, and lets each start migrate then", () => {
    const parts = ["migration", "networkPolicy", "podDisruptionBudget", "topologySpread"].map(
      (part) => `${part}.enabled=false`,
    );
    const off = [...parts, "serviceAccount.create=false", "service.headless=false"].join(",");
    const { stdout } = template("--values", valuesFile("plaintext"), "--set", off);
    expect([...stdout.matchAll(/^kind: (\w+)$/gm)].map(([, kind]) => kind)).toEqual([
      "Service",
      "Service",
      "Deployment",
    ]);
    expect(stdout).toContain('- name: LATCHKEY_MIGRATE\n              value: "true"');
    expect(stdout).toContain("serviceAccountName: default");
    expect(stdout).not.toContain("topologySpreadConstraints");
  });

  it("tells the operator how to make the first credential, and how many connections PostgreSQL needs", async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), "latchkey-notes-"));
    cpSync(CHART, folder.path, { recursive: true });
    // `helm template` shows no notes: as the text of an object it does.
    const notes = readFileSync(join(CHART, "templates/NOTES.txt"), "utf8");
    writeFileSync(join(folder.path, "templates/notes.yaml"), `notes: |\n${notes.replaceAll(/^(?=.)/gm, "  ")}`);
    const only = ["--values", valuesFile("workers"), "--show-only", "templates/notes.yaml"];
    const { stdout, stderr } = renderOf(folder.path, ...only);
    expect(stderr).toBe("");
    expect(stdout).toContain("kubectl --namespace ns exec deploy/a-latchkey -- node src/cli/bootstrap.ts");
    // (2 replicas + 1 during an upgrade) x 4 workers x (5 + 10).
    expect(stdout).toContain("PostgreSQL needs 180 connections");
  });
});

describe.skipIf(!isThere)("Kubernetes' own types", () => {
  const decode = (input: string) => {
    const cwd = join(import.meta.dirname, "objects");
    const { status, stdout, stderr } = spawnSync("go", ["run", "."], { cwd, input, encoding: "utf8" });
    return { status, unknown: stdout.split("\n").filter((kind) => kind !== ""), stderr };
  };
  const golden = (variant: string) => readFileSync(join(GOLDEN, `${variant}.yaml`), "utf8");

  it("know each field of each object", () => {
    const all = VARIANTS.map(golden).join("---\n");
    expect(decode(all)).toEqual({ status: 0, unknown: ["PrometheusRule", "ServiceMonitor"], stderr: "" });
  });

  it("refuse a misspelt field and a wrong type: the control", () => {
    const misspelt = golden("tls").replace("readinessProbe", "readinesProbe");
    expect(decode(misspelt)).toMatchObject({ status: 1, stderr: expect.stringContaining("readinesProbe") });
    expect(decode(golden("tls").replace("replicas: 3", "replicas: three"))).toMatchObject({ status: 1 });
  });
});

function valuesFile(variant: string): string {
  return join(CHART, `ci/${variant}-values.yaml`);
}

function template(...words: string[]) {
  return renderOf(CHART, ...words);
}

/** Without a cluster Helm must be told which Kubernetes it renders for. */
function renderOf(chart: string, ...words: string[]) {
  return helm("template", "a", chart, "--namespace", "ns", "--kube-version", "1.34", ...words);
}

function helm(...words: string[]) {
  const { status, stdout, stderr } = spawnSync("helm", words, { encoding: "utf8" });
  return { status, stdout, stderr };
}
