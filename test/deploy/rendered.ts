/**
 * The chart as Helm renders it: the files of golden/, one for each values file in the chart's folder ci/. In
 * chart.interop.ts Helm renders them again and compares, so other tests can judge the files without Helm.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";

export const CHART = join(import.meta.dirname, "../../deploy/chart/latchkey");
export const GOLDEN = join(import.meta.dirname, "golden");

/** The names of the values files, such as `tls` for ci/tls-values.yaml. */
export const VARIANTS: readonly string[] = readdirSync(join(CHART, "ci")).map((file) =>
  file.replace("-values.yaml", ""),
);

export interface EnvEntry {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: { readonly secretKeyRef: { readonly name: string; readonly key: string } };
}

export interface Probe {
  readonly httpGet?: { readonly path: string; readonly port: string };
  readonly grpc?: { readonly port: number };
  readonly periodSeconds: number;
  readonly timeoutSeconds: number;
  readonly failureThreshold: number;
}

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly env: readonly EnvEntry[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly startupProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly lifecycle?: { readonly preStop: { readonly exec: { readonly command: readonly [string, string] } } };
  readonly resources: Readonly<Record<"requests" | "limits", Readonly<Record<"cpu" | "memory", string>>>>;
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string; readonly subPath?: string }[];
}

export interface Pod {
  readonly containers: readonly Container[];
  readonly terminationGracePeriodSeconds?: number;
  readonly volumes: readonly { readonly name: string; readonly secret?: { readonly secretName: string } }[];
  readonly [field: string]: unknown;
}

export interface KubernetesObject {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  // Tests read the parts that they judge.
  readonly spec: Readonly<Record<string, never>>;
}

const read = new Map<string, readonly KubernetesObject[]>();

/** All objects of a variant. */
export function objectsOf(variant: string): readonly KubernetesObject[] {
  const objects = read.get(variant) ?? readObjects(variant);
  read.set(variant, objects);
  return objects;
}

function readObjects(variant: string): readonly KubernetesObject[] {
  const text = readFileSync(join(GOLDEN, `${variant}.yaml`), "utf8");
  return parseAllDocuments(text, { version: "1.1" })
    .map((document) => document.toJS() as KubernetesObject | null)
    .filter((object) => object !== null);
}

/** The object of a kind whose name ends as given. */
export function objectOf(variant: string, kind: string, nameEnd = ""): KubernetesObject {
  const found = objectsOf(variant).find((each) => each.kind === kind && each.metadata.name.endsWith(nameEnd));
  if (found === undefined) throw new Error(`${variant} has no ${kind} ${nameEnd}`);
  return found;
}

/** The pods of the Deployment and of the Job. */
export function podOf(variant: string, kind: "Deployment" | "Job"): Pod {
  const { template } = objectOf(variant, kind).spec as { readonly template?: { readonly spec: Pod } };
  if (template === undefined) throw new Error(`${variant}: ${kind} has no template`);
  return template.spec;
}

/** The one container of a pod, with its environment by name. */
export function containerOf(variant: string, kind: "Deployment" | "Job"): Container {
  const [container, ...others] = podOf(variant, kind).containers;
  if (container === undefined || others.length > 0) throw new Error(`${variant}: ${kind} has not one container`);
  return container;
}
