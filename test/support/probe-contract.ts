/** A contract that only tests have: a message with a field of each kind, and RPCs with the annotations that they bring. */
import { createFileRegistry, createRegistry, type DescMethod, fromJson, type JsonObject } from "@bufbuild/protobuf";
import {
  FileDescriptorSetSchema,
  file_google_protobuf_duration,
  file_google_protobuf_field_mask,
  file_google_protobuf_timestamp,
} from "@bufbuild/protobuf/wkt";
import { file_google_api_annotations, http } from "../../src/gen/google/api/annotations_pb.ts";
import type { Route } from "../../src/rpc/routes.ts";

const WELL_KNOWN = ["Timestamp", "Duration", "FieldMask"];

/** A field as FileDescriptorProto has it in JSON; `repeated` and `oneof` if the text says so. */
function field(name: string, number: number, type: string, more: JsonObject = {}): JsonObject {
  const isScalar = /^[a-z0-9]+$/.test(type);
  const typeName = WELL_KNOWN.includes(type) ? `.google.protobuf.${type}` : `.probe.v1.${type}`;
  const kind = type === "Color" ? "TYPE_ENUM" : "TYPE_MESSAGE";
  return {
    name,
    // A compiler of .proto files adds it.
    jsonName: name.replaceAll(/_(.)/g, (_match, letter: string) => letter.toUpperCase()),
    number,
    label: "LABEL_OPTIONAL",
    ...(isScalar ? { type: `TYPE_${type.toUpperCase()}` } : { type: kind, typeName }),
    ...more,
  };
}

const REPEATED = { label: "LABEL_REPEATED" };

const PROBE: JsonObject = {
  name: "Probe",
  field: [
    field("name", 1, "string"),
    field("page_size", 2, "int32"),
    field("is_on", 3, "bool"),
    field("tags", 4, "string", REPEATED),
    field("numbers", 5, "int32", REPEATED),
    field("color", 6, "Color"),
    field("start_time", 7, "Timestamp"),
    field("wait", 8, "Duration"),
    field("update_mask", 9, "FieldMask"),
    field("inner", 10, "Inner"),
    field("labels", 11, "LabelsEntry", REPEATED),
    field("left", 12, "string", { oneofIndex: 0 }),
    field("right", 13, "string", { oneofIndex: 0 }),
    field("raw", 14, "bytes"),
    field("big", 15, "int64"),
    field("ratio", 16, "double"),
    field("inners", 17, "Inner", REPEATED),
  ],
  oneofDecl: [{ name: "choice" }],
};

const FILE: JsonObject = {
  name: "probe/v1/probe.proto",
  package: "probe.v1",
  syntax: "proto3",
  dependency: [
    ...["duration", "field_mask", "timestamp"].map((name) => `google/protobuf/${name}.proto`),
    "google/api/annotations.proto",
  ],
  enumType: [
    {
      name: "Color",
      value: ["COLOR_UNSPECIFIED", "COLOR_RED", "COLOR_BLUE"].map((name, number) => ({ name, number })),
    },
  ],
  messageType: [
    {
      ...PROBE,
      field: (PROBE.field as JsonObject[]).map((one) =>
        one.name === "labels" ? { ...one, typeName: ".probe.v1.Probe.LabelsEntry" } : one,
      ),
      nestedType: [
        {
          name: "LabelsEntry",
          field: [field("key", 1, "string"), field("value", 2, "string")],
          options: { mapEntry: true },
        },
      ],
    },
    { name: "Inner", field: [field("id", 1, "string"), field("size", 2, "int32"), field("inner", 3, "Inner")] },
  ],
};

/** An annotation in JSON, such as `{ get: "/v1/probes" }`; `stream` makes the RPC a stream. */
export type ProbeRule = JsonObject & { readonly stream?: boolean };

/** One route for each rule, of RPCs that have a Probe as request and response. */
export function probeRoutes(...rules: readonly ProbeRule[]): Route[] {
  const method = rules.map(({ stream = false, ...rule }, n) => ({
    name: `Probe${n}`,
    inputType: ".probe.v1.Probe",
    outputType: ".probe.v1.Probe",
    serverStreaming: stream,
    options: { "[google.api.http]": rule },
  }));
  const file = { ...FILE, service: [{ name: "ProbeService", method }] };
  const set = fromJson(FileDescriptorSetSchema, { file: [file] }, { registry: createRegistry(http) });
  const known = [
    file_google_api_annotations,
    file_google_protobuf_duration,
    file_google_protobuf_field_mask,
    file_google_protobuf_timestamp,
  ];
  const files = new Set(known.flatMap((one) => [...one.dependencies, one]).map(({ proto }) => proto));
  set.file.unshift(...files);
  const service = createFileRegistry(set).getService("probe.v1.ProbeService")!;
  return service.methods.map((one) => routeOf(one));
}

function routeOf(method: DescMethod): Route {
  const base = { path: `/probe.v1.ProbeService/${method.name}`, name: `probe.v1.ProbeService.${method.name}` };
  const rest = { method, rule: "anyone" as const, isChange: false, maxRequestBytes: 64 * 1024 };
  return method.methodKind === "unary"
    ? { ...base, ...rest, kind: "unary", handler: (request) => request }
    : { ...base, ...rest, kind: "stream", handler: async function* () {} };
}
