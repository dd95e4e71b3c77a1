/** src/rpc/standard/openapi.json says what the contract says. Needs no generator; `npm run check` compares the text. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { getOption, hasOption } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { type Description, type Generated, mend, type Operation } from "../../scripts/openapi/mend.ts";
import { http } from "../../src/gen/google/api/annotations_pb.ts";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { accessRule } from "../../src/rpc/access.ts";

const file = join(import.meta.dirname, "../../src/rpc/standard/openapi.json");
const description: Description = JSON.parse(readFileSync(file, "utf8"));
const methods = [AdminService, AuthService, KeyService].flatMap((service) => service.methods);

/** A path without the names of its parameters. */
const shapeOf = (path: string) => path.replaceAll(/\{[^}]*\}/g, "{}");
const operations = Object.entries(description.paths).flatMap(([path, item]) =>
  Object.entries(item).map(([verb, operation]) => ({ path, verb, operation })),
);

describe("the description of the REST paths", () => {
  it("has each annotated RPC at its verb and path, and nothing else", () => {
    const annotated = methods
      .filter((method) => hasOption(method, http))
      .map((method) => {
        const { case: verb, value: path } = getOption(method, http).pattern;
        return `${verb} ${shapeOf(path as string)} ${method.parent.name}_${method.name}`;
      });
    const described = operations.map(
      ({ path, verb, operation }) => `${verb} ${shapeOf(path)} ${operation.operationId}`,
    );
    expect(described.sort()).toEqual(annotated.sort());
    expect(annotated).toHaveLength(methods.filter(({ methodKind }) => methodKind === "unary").length);
  });

  it("has no two paths that differ only by the names of their parameters", () => {
    const shapes = Object.keys(description.paths).map(shapeOf);
    expect(new Set(shapes).size).toBe(shapes.length);
  });

  it("names the parameters of each path, and leaves them out of bodies", () => {
    for (const { path, operation } of operations) {
      const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      const inPath = operation.parameters?.filter((parameter) => parameter.in === "path").map(({ name }) => name) ?? [];
      expect([path, inPath]).toEqual([path, named]);
      for (const name of named)
        expect([path, bodyFields(operation)]).not.toEqual([path, expect.arrayContaining([name])]);
    }
  });

  it("states for each operation the credentials that its access rule takes", () => {
    for (const method of methods.filter((each) => hasOption(each, http))) {
      const id = `${method.parent.name}_${method.name}`;
      const { security } = operations.find(({ operation }) => operation.operationId === id)!.operation as Secured;
      const rule = accessRule(method);
      const kinds = security.flatMap(Object.keys);
      expect([id, kinds.includes("accessToken")]).toEqual([id, rule !== "anyone" && rule.user === true]);
      expect([id, kinds.includes("serviceCredential")]).toEqual([id, rule !== "anyone" && rule.scopes !== undefined]);
    }
  });

  it("answers every error in the form of AIP-193", () => {
    expect(description.components.schemas.Error).toMatchObject({ required: ["error"] });
    for (const { operation } of operations) {
      expect(Object.keys(operation.responses)).toEqual(["200", "401", "429", "503", "4XX", "5XX"]);
    }
  });
});

it("two operations of one path and verb are refused, because one would hide the other", () => {
  const operation = { operationId: "KeyService_GetKey", description: "Returns it.", tags: [], responses: {} };
  const paths = { "/v1/keys/{keyId}": { get: operation }, "/v1/keys/{key.id}": { get: operation } };
  const generated: Generated = { paths, components: { schemas: {} }, tags: [] };
  expect(() => mend(generated, () => "anyone")).toThrow("get /v1/keys/{keyId} has two operations");
});

type Secured = Operation & { readonly security: readonly Readonly<Record<string, readonly string[]>>[] };

function bodyFields({ requestBody }: Operation): string[] {
  const name = requestBody?.content["application/json"].schema.$ref.split("/").at(-1);
  return name === undefined ? [] : Object.keys(description.components.schemas[name]!.properties ?? {});
}
