import { mutantsOf } from "./tested-mutant.ts";

const CONTEXT = ["test/rpc/trace-context.test.ts"];
const STATEMENT = ["test/postgres/statement-span.test.ts"];
const TRACING = ["test/rpc/tracing.test.ts"];

/** Traces of OpenTelemetry. */
export const SPANS_MUTANTS = [
  ...mutantsOf("src/rpc/calls/trace-context.ts", CONTEXT, [
    {
      name: "headers of any length",
      search: "values.length !== 1 || values[0]!.length > MAX_LENGTH",
      replacement: "values.length !== 1",
      why: "a client's text of any length is kept with each call",
    },
    {
      name: "a state of any length",
      search: 'state === "" || state.length > MAX_LENGTH',
      replacement: 'state === ""',
      why: "a client fills each span",
    },
    {
      name: "flags as the client writes them",
      search: "Number.parseInt(flags!, 16) & 1",
      replacement: "Number.parseInt(flags!, 16)",
      why: "bits that no version knows go on to the collector",
    },
  ]),
  ...mutantsOf("src/postgres/transactions/statement-span.ts", STATEMENT, [
    {
      name: "any word for a table",
      search: "if (TABLES.has(table!)) {",
      replacement: "if (table) {",
      why: "a word of a value is in a span",
    },
  ]),
  ...mutantsOf("src/rpc/calls/call-span.ts", TRACING, [
    {
      name: "refusals are faults",
      search: "FAULTS.has(code)",
      replacement: 'code !== "OK"',
      why: "each NOT_FOUND looks like a fault of the service",
    },
    {
      name: "one name for all lanes",
      search: "const lane = head.httpRoute ?? systemOf(head);",
      replacement: "const lane = systemOf(head);",
      why: "a call by REST is taken for one by gRPC",
    },
  ]),
  ...mutantsOf("src/lib/tracing.ts", TRACING, [
    {
      name: "children of no call",
      search: "? context.with(this.#context, work, undefined, ...args)",
      replacement: "? work(...args)",
      why: "no trace shows its SQL",
    },
    {
      name: "a trace of its own",
      search: "const parent = remote === undefined ? ROOT_CONTEXT : contextOf(remote);",
      replacement: "const parent = ROOT_CONTEXT;",
      why: "no trace of a client has the call that it made",
    },
  ]),
];
