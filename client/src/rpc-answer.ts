import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { anyPack, durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Denial, GrpcCodeName } from "../../src/answers/decision.ts";
import { type GrpcAnswer, grpcAnswer } from "../../src/answers/grpc-answer.ts";
import { ErrorInfoSchema, QuotaFailureSchema, RetryInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../../src/gen/google/rpc/status_pb.ts";

const CODES: Readonly<Record<GrpcCodeName, Code>> = {
  UNAUTHENTICATED: Code.Unauthenticated,
  PERMISSION_DENIED: Code.PermissionDenied,
  RESOURCE_EXHAUSTED: Code.ResourceExhausted,
  UNAVAILABLE: Code.Unavailable,
  INTERNAL: Code.Internal,
};
const DOMAIN = "latchkey";

/** A denial as Connect's error, with the details of google.rpc. */
export function connectError(denial: Denial, realm: string): ConnectError {
  const answer = grpcAnswer(denial, realm);
  const headers = new Headers(answer.metadata.map(([name, value]): [string, string] => [name, value]));
  return new ConnectError(answer.message, CODES[answer.code], headers, detailsOf(answer));
}

/** A denial as grpc-js has it: code, text, and metadata with `grpc-status-details-bin`. */
export function grpcStatus(denial: Denial, realm: string) {
  const answer = grpcAnswer(denial, realm);
  const code: number = CODES[answer.code];
  const details = detailsOf(answer).map(({ desc, value }) => anyPack(desc, create(desc, value)));
  const bytes = toBinary(StatusSchema, create(StatusSchema, { code, message: answer.message, details }));
  return { code, message: answer.message, metadata: answer.metadata, details: Buffer.from(bytes) };
}

function detailsOf({ reason, retryAfterMs, violations }: GrpcAnswer) {
  return [
    detail(ErrorInfoSchema, { reason, domain: DOMAIN }),
    ...(retryAfterMs === undefined ? [] : [detail(RetryInfoSchema, { retryDelay: durationFromMs(retryAfterMs) })]),
    ...(violations.length === 0 ? [] : [detail(QuotaFailureSchema, { violations: [...violations] })]),
  ];
}

/** Loses the type of the message, so that details of several kinds fit into one list. */
function detail<D extends DescMessage>(desc: D, value: MessageInitShape<D>) {
  return { desc: desc as DescMessage, value: value as MessageInitShape<DescMessage> };
}
