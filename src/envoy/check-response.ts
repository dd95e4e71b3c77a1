import { type Denial, type GrpcCodeName, REFUSALS } from "../answers/decision.ts";
import { grpcAnswer } from "../answers/grpc-answer.ts";
import { decisionFields, httpAnswer } from "../answers/http-answer.ts";
import type { Header } from "../answers/rate-limit-fields.ts";
import { MessageWriter } from "../lib/message-writer.ts";
import type { CheckedRequest } from "./checked-request.ts";
import { type Fact, headersToRemove, identityOf } from "./identity.ts";
import { isGrpc, type Judged } from "./judgement.ts";

/** `realm` of a challenge, as the middleware has it by default. */
const REALM = "api";

/** Numbers of google.rpc.Code. */
const CODES: Readonly<Record<GrpcCodeName, number>> = {
  UNAUTHENTICATED: 16,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  UNAVAILABLE: 14,
  INTERNAL: 13,
};

/** HeaderValueOption.append_action: a client's or an upstream's header of this name never stays beside ours. */
const OVERWRITE_IF_EXISTS_OR_ADD = 2;

/** Fields of envoy.service.auth.v3.CheckResponse. */
const STATUS = 1;
const DENIED_RESPONSE = 2;
const OK_RESPONSE = 3;
const DYNAMIC_METADATA = 4;
/** Of DeniedHttpResponse. */
const HTTP_STATUS = 1;
const BODY = 3;
/** Of both kinds of response. */
const HEADERS = 2;
/** Of OkHttpResponse. */
const HEADERS_TO_REMOVE = 5;
const RESPONSE_HEADERS_TO_ADD = 6;

const writer = new MessageWriter();

/** The answer to a check, as the bytes of a CheckResponse. */
export function checkResponse(request: CheckedRequest, judged: Judged): Uint8Array {
  const { decision } = judged;
  writer.begin();
  if (decision.admitted) writeOk(request, judged);
  else writeDenied(decision, isGrpc(request));
  return writer.finish();
}

function writeOk(request: CheckedRequest, judged: Judged): void {
  const facts = identityOf(judged);
  writer.bytes(STATUS, NOTHING);
  writer.message(OK_RESPONSE, facts, (to) => {
    for (const fact of facts) to.message(HEADERS, fact, writeFactHeader);
    for (const name of headersToRemove(request, facts)) to.string(HEADERS_TO_REMOVE, name);
    for (const header of decisionFields(judged.decision, REALM)) {
      to.message(RESPONSE_HEADERS_TO_ADD, header, writeHeader);
    }
  });
  writer.message(DYNAMIC_METADATA, facts, writeStruct);
}

const NOTHING = new Uint8Array(0);

/** A gRPC client reads the status and a short text; Envoy makes the rest of its answer. */
function writeDenied(denial: Denial, forGrpc: boolean): void {
  const { status, headers, body } = forGrpc ? grpcReply(denial) : httpAnswer(denial, REALM);
  writer.message(STATUS, CODES[REFUSALS[denial.code].grpc], (to, code) => to.int32(1, code));
  writer.message(DENIED_RESPONSE, headers, (to) => {
    to.message(HTTP_STATUS, status, (into, code) => into.int32(1, code));
    for (const header of headers) to.message(HEADERS, header, writeHeader);
    to.string(BODY, body);
  });
  writer.message(DYNAMIC_METADATA, [{ name: "code", value: denial.code }], writeStruct);
}

/** Without `grpc-status`, Envoy would make one from the HTTP status, and UNAVAILABLE from 429. */
function grpcReply(denial: Denial) {
  const { code, message, metadata } = grpcAnswer(denial, REALM);
  const headers: Header[] = [["grpc-status", String(CODES[code])], ...metadata];
  return { status: REFUSALS[denial.code].status, headers, body: message };
}

/** A HeaderValueOption. */
function writeHeader(to: MessageWriter, [name, value]: Header): void {
  writeOption(to, name, value);
}

function writeFactHeader(to: MessageWriter, { header, value }: Fact): void {
  writeOption(to, header, value);
}

function writeOption(to: MessageWriter, name: string, value: string): void {
  to.message(1, value, (into, text) => {
    into.string(1, name);
    into.string(2, text);
  });
  to.int32(3, OVERWRITE_IF_EXISTS_OR_ADD);
}

/** A google.protobuf.Struct of texts. */
function writeStruct(to: MessageWriter, facts: readonly Entry[]): void {
  for (const fact of facts) to.message(1, fact, writeEntry);
}

/** An entry of a struct. */
interface Entry {
  readonly name: string;
  readonly value: string;
}

function writeEntry(to: MessageWriter, { name, value }: Entry): void {
  to.string(1, name);
  to.message(2, value, writeTextValue);
}

function writeTextValue(to: MessageWriter, value: string): void {
  to.string(3, value);
}
