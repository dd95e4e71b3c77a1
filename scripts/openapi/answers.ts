/** The parts of the REST description that no annotation has: the credentials, and the errors of AIP-193. */

export const INFO = {
  info: {
    title: "latchkey",
    version: "v1",
    description:
      'Registers people, issues API keys, and judges each call made with them. These are the unary RPCs of the package `latchkey.v1` as REST paths. Both spellings of a field are accepted, `key_id` and `keyId`; answers have the latter. Integers of 64 bits are strings. Every error is `{"error": ...}` as AIP-193 describes it.',
    license: { name: "Apache-2.0", url: "https://www.apache.org/licenses/LICENSE-2.0" },
  },
  servers: [{ url: "/" }],
} as const;

const retryAfter = {
  description: "Whole seconds until another attempt may succeed. Absent if waiting does not help.",
  schema: { type: "integer", minimum: 1 },
};

const errorAnswer = (description: string, headers?: object) => ({
  description,
  ...(headers && { headers }),
  content: { "application/json": { schema: { $ref: "#/components/schemas/Error" } } },
});

export const COMPONENTS = {
  securitySchemes: {
    accessToken: {
      type: "http",
      scheme: "bearer",
      bearerFormat: "JWT",
      description: "A person's access token, from Register, Login or Refresh.",
    },
    serviceCredential: {
      type: "http",
      scheme: "bearer",
      description: "A credential of a service or an operator, `kit_svc_...` unless the prefix is configured.",
    },
  },
  responses: {
    Refused: errorAnswer("The request can't be served as it is. `error.status` names the gRPC code."),
    Unauthenticated: errorAnswer("The credential, password or token is missing, wrong or expired.", {
      "WWW-Authenticate": { description: "`Bearer`.", schema: { type: "string" } },
    }),
    TooMany: errorAnswer("A quota or a rate of calls is used up.", { "Retry-After": retryAfter }),
    Unavailable: errorAnswer("The service can't reach its data at the moment.", { "Retry-After": retryAfter }),
    Failed: errorAnswer("The service failed, or the deadline has passed."),
  },
  schemas: {
    Error: {
      type: "object",
      description: "An error as AIP-193 describes it.",
      required: ["error"],
      properties: {
        error: {
          type: "object",
          required: ["code", "message", "status"],
          properties: {
            code: { type: "integer", format: "int32", description: "The HTTP status." },
            message: { type: "string", description: "For people. Decide by the reason of the ErrorInfo." },
            status: { type: "string", description: "The gRPC code, such as `NOT_FOUND`." },
            details: {
              type: "array",
              description: "One google.rpc.ErrorInfo, and others such as BadRequest, QuotaFailure and RetryInfo.",
              items: { $ref: "#/components/schemas/GoogleProtobufAny" },
            },
          },
        },
      },
    },
  },
} as const;

/**
 * References to the errors of every operation, by status. A wrong password or token is UNAUTHENTICATED too, so this
 * includes operations that need no credential.
 */
export const ERRORS = Object.fromEntries(
  Object.entries({ 401: "Unauthenticated", 429: "TooMany", 503: "Unavailable", "4XX": "Refused", "5XX": "Failed" }).map(
    ([status, name]) => [status, { $ref: `#/components/responses/${name}` }],
  ),
);

/** Operations whose refusal is an answer: it may say when the next attempt can succeed. */
export const MAY_SAY_WAIT: ReadonlySet<string> = new Set(["KeyService_VerifyKey", "KeyService_CheckRateLimit"]);

/** The headers of such an answer. */
export const WAIT = { "Retry-After": retryAfter };

/** The order in which a viewer shows the services: administration last. */
export const TAGS: readonly string[] = ["AuthService", "KeyService", "AdminService"];
