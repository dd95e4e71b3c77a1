/**
 * MEND. From what protoc-gen-openapi writes to the description of the REST paths as they are served. Pure: the same
 * input gives the same text. Each step states what is wrong without it.
 */
import type { AccessRule } from "../../src/rpc/routes.ts";
import { COMPONENTS, ERRORS, INFO, MAY_SAY_WAIT, TAGS, WAIT } from "./answers.ts";

type Json = Record<string, unknown>;

interface Parameter {
  name: string;
  readonly in: "path" | "query";
}

export interface Operation {
  readonly operationId: string;
  description: string;
  readonly tags: readonly string[];
  readonly parameters?: Parameter[];
  readonly requestBody?: { required?: boolean; readonly content: { "application/json": { schema: { $ref: string } } } };
  readonly responses: Json;
}

type PathItem = Record<string, Operation>;

interface Schema {
  description?: string;
  properties?: Record<string, Schema>;
  readOnly?: boolean;
}

/** The document as protoc-gen-openapi writes it. */
export interface Generated {
  readonly paths: Record<string, PathItem>;
  readonly components: { readonly schemas: Record<string, Schema> };
  readonly tags: readonly { readonly name: string; readonly description: string }[];
}

/** The description of the REST paths: an OpenAPI 3.0 document. */
export interface Description extends Generated {
  readonly openapi: "3.0.3";
}

/**
 * Mends a document.
 *
 * @param ruleOf who may call an operation, by its service and method, such as `KeyService` and `IssueKey`
 * @throws {Error} for two operations of one path and verb
 */
export function mend(generated: Generated, ruleOf: (service: string, method: string) => AccessRule): Description {
  const document = withPlainText(structuredClone(generated));
  const { schemas } = document.components;
  for (const schema of Object.values(schemas)) markOutputOnly(schema);
  const paths = oneItemPerTemplate(document.paths);
  for (const item of Object.values(paths)) {
    for (const operation of Object.values(item)) {
      mendBody(operation, schemas);
      mendOperation(operation, ruleOf);
    }
  }
  return {
    openapi: "3.0.3",
    ...INFO,
    tags: document.tags.toSorted((a, b) => TAGS.indexOf(a.name) - TAGS.indexOf(b.name)),
    paths,
    components: { ...COMPONENTS, schemas: { ...schemas, ...COMPONENTS.schemas } },
  } as Description;
}

/** A comment of the contract begins each line after the first with a blank, and CommonMark wants none. */
function withPlainText<T>(value: T): T {
  const text = JSON.stringify(value, (key, inner) =>
    key === "description" && typeof inner === "string" ? inner.replaceAll(/^ /gm, "") : inner,
  );
  return JSON.parse(text);
}

/** Fields whose comment says "Output only" (AIP-203): a viewer leaves them out of the body that it suggests. */
function markOutputOnly(schema: Schema): void {
  for (const field of Object.values(schema.properties ?? {})) {
    if (field.description?.startsWith("Output only.")) field.readOnly = true;
  }
}

/**
 * Templates that differ only by the names of their parameters are one path (OpenAPI 3.0.3, Paths Object). The contract
 * has `/v1/keys/{key.id}` where a key is the body, and `/v1/keys/{key_id}` elsewhere.
 */
function oneItemPerTemplate(paths: Record<string, PathItem>): Record<string, PathItem> {
  const merged: Record<string, PathItem> = {};
  for (const [path, item] of Object.entries(paths)) {
    const name = path.replaceAll(/\{(\w+)\.(\w)(\w*)\}/g, (_, parent, first, rest) => {
      return `{${parent}${first.toUpperCase()}${rest}}`;
    });
    const names = [...name.matchAll(/\{(\w+)\}/g)].map(([, parameter]) => parameter!);
    const target = merged[name] ?? {};
    merged[name] = target;
    for (const [verb, operation] of Object.entries(item)) {
      if (target[verb] !== undefined) throw new Error(`${verb} ${name} has two operations`);
      const inPath = (operation.parameters ?? []).filter((parameter) => parameter.in === "path");
      for (const [at, parameter] of inPath.entries()) parameter.name = names[at]!;
      target[verb] = operation;
    }
  }
  return merged;
}

/** A body does not repeat what the path has, and an empty body is `{}`. */
function mendBody({ parameters = [], requestBody }: Operation, schemas: Record<string, Schema>): void {
  if (requestBody === undefined) return;
  delete requestBody.required;
  const { properties = {} } = schemas[requestBody.content["application/json"].schema.$ref.split("/").at(-1)!]!;
  for (const { name, in: place } of parameters) if (place === "path") delete properties[name];
}

function mendOperation(operation: Operation, ruleOf: (service: string, method: string) => AccessRule): void {
  const [service, method] = operation.operationId.split("_") as [string, string];
  const rule = ruleOf(service, method);
  if (MAY_SAY_WAIT.has(operation.operationId)) Object.assign(operation.responses["200"] as Json, { headers: WAIT });
  const [sentence] = /^.+?\.(?=\s|$)/s.exec(operation.description) ?? [operation.description];
  Object.assign(operation, {
    summary: sentence.replaceAll("\n", " ").replace(/\.$/, ""),
    description: `${operation.description}\n\n${whoMayCall(rule)}`,
    security: credentialsOf(rule),
    responses: { ...operation.responses, ...ERRORS },
  });
}

function whoMayCall(rule: AccessRule): string {
  if (rule === "anyone") return "Needs no credential.";
  const scopes = (rule.scopes ?? []).map((scope) => `a service credential with the scope \`${scope}\``);
  return `Needs ${[...(rule.user ? ["a person's access token"] : []), ...scopes].join(", or ")}.`;
}

function credentialsOf(rule: AccessRule): readonly Json[] {
  if (rule === "anyone") return [];
  return [...(rule.user ? [{ accessToken: [] }] : []), ...(rule.scopes?.length ? [{ serviceCredential: [] }] : [])];
}
