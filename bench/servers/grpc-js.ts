/** VerifyKey as a no-op on @grpc/grpc-js. `node grpc-js.ts PORT` */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Server, ServerCredentials, type sendUnaryData } from "@grpc/grpc-js";
import {
  Verdict,
  type VerifyKeyRequest,
  VerifyKeyRequestSchema,
  type VerifyKeyResponse,
  VerifyKeyResponseSchema,
} from "../../src/gen/latchkey/v1/key_service_pb.ts";

const server = new Server();
server.register<VerifyKeyRequest, VerifyKeyResponse>(
  "/latchkey.v1.KeyService/VerifyKey",
  (_: unknown, answer: sendUnaryData<VerifyKeyResponse>) =>
    answer(null, create(VerifyKeyResponseSchema, { valid: true, verdict: Verdict.VALID })),
  (message) => Buffer.from(toBinary(VerifyKeyResponseSchema, message)),
  (bytes) => fromBinary(VerifyKeyRequestSchema, bytes),
  "unary",
);
server.bindAsync(`127.0.0.1:${process.argv[2]}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error;
});
