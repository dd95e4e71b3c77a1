import type { ConnectError } from "@connectrpc/connect";
import { Code } from "../gen/google/rpc/code_pb.ts";
import { DomainError } from "../lib/errors.ts";

/** The codec's text for a value that does not fit its field. It quotes the value, so only the field's name is sent. */
const UNREADABLE_FIELD = /cannot decode field [\w.]+\.(\w+) from JSON/;
/** The codec's text for an unknown field. The sender chose the field's name, so only the message's name is sent. */
const UNKNOWN_FIELD = /^(?:\[\w+\] )?cannot decode message ([\w.]+) from JSON: key /;

/** The meaning of an error that a codec threw because it could not read a request. Its text is not repeated. */
export function readingError({ code, rawMessage }: ConnectError): DomainError {
  switch (code) {
    case Code.RESOURCE_EXHAUSTED:
      return new DomainError(
        "MESSAGE_TOO_LARGE",
        "the request message is larger than this method allows; send less in one call",
      );
    case Code.UNIMPLEMENTED:
      return new DomainError(
        "NOT_IMPLEMENTED",
        "the encoding or the number of request messages is not supported; send one message, plain or with gzip",
      );
    default: {
      const message = UNKNOWN_FIELD.exec(rawMessage)?.[1];
      if (message !== undefined) {
        return new DomainError(
          "MESSAGE_INVALID",
          `the request has a field that ${message} does not define; check the names of its fields`,
        );
      }
      const field = UNREADABLE_FIELD.exec(rawMessage)?.[1];
      const violations = field === undefined ? [] : [{ field, description: "must have a value of the field's type" }];
      return new DomainError(
        "MESSAGE_INVALID",
        "the request message could not be decoded; check its encoding and the types of its fields",
        { violations },
      );
    }
  }
}
