import { createRegistry } from "@bufbuild/protobuf";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  QuotaFailureSchema,
  RetryInfoSchema,
} from "../../gen/google/rpc/error_details_pb.ts";

/**
 * How messages are read from JSON and written as JSON, on every lane. Unknown fields are refused, as protobuf's JSON
 * format specifies: a client that misspells `requiredScopes` would otherwise be told that the key is valid. `fatal`
 * refuses invalid UTF-8 instead of replacing it; Connect reads this option, although its type lacks it. Fields that are
 * false, 0 or empty are written, so that a reader of `valid` finds it.
 */
export const JSON_OPTIONS = {
  ignoreUnknownFields: false,
  alwaysEmitImplicit: true,
  // BatchVerifyKeys answers with google.rpc.Status, whose details are of these types.
  registry: createRegistry(ErrorInfoSchema, BadRequestSchema, RetryInfoSchema, QuotaFailureSchema),
  textDecoder: new TextDecoder("utf-8", { fatal: true }),
};
