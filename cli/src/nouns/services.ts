import { randomUUID } from "node:crypto";
import {
  IssueServiceCredentialResponseSchema,
  ListServiceCredentialsResponseSchema,
  RevokeServiceCredentialResponseSchema,
  RotateServiceCredentialResponseSchema,
  type ServiceCredential,
  ServiceCredential_StateSchema,
  UpdateServiceCredentialResponseSchema,
} from "@latchkey/client/contract";
import {
  count,
  duration,
  given,
  list,
  moment as momentFlag,
  pathsOf,
  required,
  text,
  updateMaskOf,
  yes,
} from "../flags.ts";
import { stateCell } from "../key-view.ts";
import { type Answer, type Column, type Fields, jsonOf, listingOf } from "../result.ts";
import { moment, msOf, relative } from "../times.ts";
import { type Noun, verb } from "../verb.ts";

const CREDENTIAL = { name: "CREDENTIAL_ID", about: "the credential's id, such as svc_AbCd1234AbCd1234" };
const SCOPES = ["verify", "manage", "admin"];
const NAME = text("NAME", "1 to 64 characters");
const CERTIFICATE_NAMES = list("A,B", "DNS names and URIs; a client certificate with one stands for the credential");

const issue = verb({
  name: "issue",
  about: "Issue a credential for a service or an operator",
  more: "The raw credential goes to standard output alone, and is never shown again.",
  examples: [
    "services issue --name orders --scopes verify > orders.credential",
    "services issue --name ann --scopes admin --expires 90d > ann.credential",
  ],
  flags: {
    name: required(NAME),
    scopes: required(list("A,B", "one or more of verify, manage and admin", SCOPES)),
    expires: momentFlag("when the credential stops working: 90d, or a date"),
    certificateNames: CERTIFICATE_NAMES,
  },
  async run({ admin, call, nowMs }, { flags: { expires, ...fields } }) {
    // With it, the client's retry after a lost answer issues no second credential.
    const request = { ...given({ ...fields, expireTime: expires }), requestId: randomUUID() };
    const response = await admin.issueServiceCredential(request, call);
    return secretAnswer(jsonOf(IssueServiceCredentialResponseSchema, response), response, nowMs);
  },
});

const listServices = verb({
  name: "list",
  about: "List service credentials, newest first",
  more: "On a narrow terminal, columns are left out; --json has everything.",
  examples: ["services list", "services list --all --json"],
  flags: {
    all: yes("revoked and expired credentials too"),
    limit: count("the greatest number of credentials", 1),
  },
  run: async ({ admin, call, nowMs }, { flags: { all: showEnded = false, limit } }) =>
    listingOf({
      schema: ListServiceCredentialsResponseSchema,
      field: "credentials",
      page: (pageToken, pageSize) => admin.listServiceCredentials({ pageToken, pageSize, showEnded }, call),
      limit,
      columns: columns(nowMs),
      quiet: (credential: ServiceCredential) => credential.id,
      none: "there are no such credentials",
    }),
});

const update = verb({
  name: "update",
  about: "Change the name or the certificate names of a credential",
  more: "--certificate-names replaces the whole list; an empty value clears it.",
  examples: ["services update svc_AbCd1234AbCd1234 --certificate-names orders.internal,spiffe://example.org/orders"],
  args: [CREDENTIAL],
  flags: { name: NAME, certificateNames: CERTIFICATE_NAMES },
  async run({ admin, call, nowMs }, { args: [id], flags }) {
    const set = given(flags);
    const updateMask = updateMaskOf(pathsOf(set), "services update");
    const response = await admin.updateServiceCredential({ credential: { id: id!, ...set }, updateMask }, call);
    const json = jsonOf(UpdateServiceCredentialResponseSchema, response);
    return credentialAnswer(json, response.credential!, nowMs);
  },
});

const rotate = verb({
  name: "rotate",
  about: "Give a credential a new secret; its id stays",
  more: "Older secrets work until the overlap ends: 24 hours if --overlap is not given, at most 7 days.",
  examples: ["services rotate svc_AbCd1234AbCd1234 --overlap 1h > orders.credential"],
  args: [CREDENTIAL],
  flags: { overlap: duration("how long older secrets keep working; 0s ends them at once") },
  question: ({ args: [id], flags: { overlap } }) =>
    overlap !== undefined && msOf(overlap) === 0 ? `End all older secrets of ${id} at once?` : undefined,
  async run({ admin, call, nowMs }, { args: [credentialId], flags }) {
    const request = { credentialId: credentialId!, requestId: randomUUID(), ...given(flags) };
    const response = await admin.rotateServiceCredential(request, call);
    return secretAnswer(jsonOf(RotateServiceCredentialResponseSchema, response), response, nowMs);
  },
});

const revoke = verb({
  name: "revoke",
  about: "Revoke a credential for good",
  examples: ['services revoke svc_AbCd1234AbCd1234 --reason "the service is retired"'],
  args: [CREDENTIAL],
  flags: { reason: text("TEXT", "for the audit trail, up to 256 characters") },
  question: ({ args: [id] }) => `Revoke ${id} for good?`,
  async run({ admin, call, nowMs }, { args: [credentialId], flags }) {
    const response = await admin.revokeServiceCredential({ credentialId: credentialId!, ...given(flags) }, call);
    const json = jsonOf(RevokeServiceCredentialResponseSchema, response);
    return credentialAnswer(json, response.credential!, nowMs);
  },
});

/** The credentials of services and operators. */
export const services: Noun = {
  name: "services",
  about: "Credentials of services and operators",
  verbs: [issue, listServices, update, rotate, revoke],
};

function columns(nowMs: number): readonly Column<ServiceCredential>[] {
  return [
    { name: "ID", role: "id", cell: ({ id }) => id },
    { name: "NAME", role: "text", cell: ({ name }) => name },
    { name: "STATE", role: "id", cell: ({ state }) => stateCell(ServiceCredential_StateSchema, state) },
    { name: "SCOPES", role: "extra", cell: ({ scopes }) => scopes.join(" ") },
    { name: "LAST USED", role: "extra", cell: ({ lastUseTime }) => relative(nowMs, lastUseTime) },
    { name: "EXPIRES", role: "extra", cell: ({ expireTime }) => relative(nowMs, expireTime) },
    { name: "CREATED", role: "extra", cell: ({ createTime }) => relative(nowMs, createTime) },
    { name: "BEGINS WITH", role: "extra", cell: ({ prefix }) => prefix },
  ];
}

function fieldsOf(credential: ServiceCredential, nowMs: number): Fields {
  return [
    ["id", credential.id],
    ["name", credential.name],
    ["state", stateCell(ServiceCredential_StateSchema, credential.state)],
    ["scopes", credential.scopes.join(" ")],
    ["certificates", credential.certificateNames.join(" ")],
    ["begins with", credential.prefix],
    ["created", moment(nowMs, credential.createTime)],
    ["expires", moment(nowMs, credential.expireTime)],
    ["last used", moment(nowMs, credential.lastUseTime)],
  ];
}

function credentialAnswer(json: Answer["json"], credential: ServiceCredential, nowMs: number): Answer {
  return { kind: "answer", json, quiet: credential.id, fields: fieldsOf(credential, nowMs) };
}

function secretAnswer(
  json: Answer["json"],
  { credential, secret }: { credential?: ServiceCredential; secret: string },
  nowMs: number,
): Answer {
  const title = "The credential below is shown this once:";
  return { kind: "answer", json, quiet: secret, secret, fields: fieldsOf(credential!, nowMs), title };
}
