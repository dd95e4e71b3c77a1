/** Calls of every RPC that reaches the database, and the work in the background, with what makes their statements. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { DescService } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { errorOf } from "../support/errors.ts";
import { PASSWORD, type TestService } from "../support/in-process-service.ts";

const WRONG = "violet harbour engine quilt";

/** The parts of the data set that the tour asks for. */
export interface TourFacts {
  /** The owner with the most keys. */
  readonly ownerId: string;
  /** A user who logged in and did things. */
  readonly actorId: string;
  readonly subjectId: string;
  /** A page token of a list of the service's operator that begins in the middle of the list. */
  deepToken(method: string, filter: readonly (string | boolean)[]): string;
}

/** The RPCs that the tour called, as `Service.method`. */
export type Visited = ReadonlySet<string>;

/** Makes the tour. Each list is read as its first page, as the page after it, and with each filter. */
export async function makeTour(service: TestService, facts: TourFacts): Promise<Visited> {
  const visited = new Set<string>();
  const noting = <S extends DescService>(of: S, credential?: string): Client<S> => {
    const client = service.client(of, credential);
    return new Proxy(client, {
      get(target, name) {
        visited.add(`${of.name}.${String(name)}`);
        return target[name as keyof typeof target];
      },
    });
  };
  const admin = noting(AdminService, service.admin);
  const keys = noting(KeyService, service.admin);
  const anyone = noting(AuthService);
  const step = { service, admin, keys, anyone, noting, facts };
  await peopleCome(step);
  await peopleChange(step);
  await ownersManageKeys(step);
  await servicesAskAboutKeys(step);
  await operatorsList(step);
  await operatorsManage(step);
  await followChanges(keys);
  return visited;
}

interface Step {
  readonly service: TestService;
  readonly admin: Client<typeof AdminService>;
  readonly keys: Client<typeof KeyService>;
  readonly anyone: Client<typeof AuthService>;
  readonly noting: <S extends DescService>(of: S, credential?: string) => Client<S>;
  readonly facts: TourFacts;
}

let people = 0;
const freshEmail = () => `tour-${++people}-${Date.now()}@example.com`;

async function register({ anyone, noting }: Step) {
  const email = freshEmail();
  const { user, tokens } = await anyone.register({ email, password: PASSWORD });
  const { accessToken, refreshToken } = tokens!;
  const [auth, keys] = [noting(AuthService, accessToken), noting(KeyService, accessToken)];
  return { email, userId: user!.id, refreshToken, accessToken, auth, keys };
}

async function peopleCome(step: Step): Promise<void> {
  const { anyone } = step;
  const { email, refreshToken } = await register(step);
  await errorOf(anyone.register({ email, password: PASSWORD }));
  await errorOf(anyone.login({ email, password: WRONG, refreshToken }));
  await errorOf(anyone.login({ email: freshEmail(), password: WRONG }));
  await anyone.login({ email, password: PASSWORD, refreshToken });
  const { tokens } = await anyone.login({ email, password: PASSWORD });
  const next = await anyone.refresh({ refreshToken: tokens!.refreshToken });
  await anyone.logout({ refreshToken: next.tokens!.refreshToken });
  await errorOf(anyone.refresh({ refreshToken: next.tokens!.refreshToken }));
}

async function peopleChange(step: Step): Promise<void> {
  const { admin, anyone } = step;
  const { auth, email, userId } = await register(step);
  await auth.getCurrentUser({});
  await auth.updateCurrentUser({ user: { displayName: "Mona" }, updateMask: { paths: ["display_name"] } });
  await anyone.login({ email, password: PASSWORD });
  const { sessions, nextPageToken } = await auth.listSessions({ pageSize: 1 });
  await auth.listSessions({ pageSize: 1, pageToken: nextPageToken });
  await auth.revokeSession({ sessionId: sessions.find(({ current }) => !current)!.id });
  await auth.changePassword({ currentPassword: PASSWORD, newPassword: `${PASSWORD} and more` });
  const { resetToken } = await admin.createPasswordReset({ userId, revokeKeys: true, endAccess: true });
  await anyone.completePasswordReset({ resetToken, newPassword: PASSWORD });
}

async function ownersManageKeys(step: Step): Promise<void> {
  const { keys, userId } = await register(step);
  const requestId = crypto.randomUUID();
  const { key } = await keys.issueKey({ name: "a key", requestId });
  await errorOf(keys.issueKey({ name: "a key", requestId }));
  const keyId = key!.id;
  await keys.getKey({ keyId });
  await keys.updateKey({ key: { id: keyId, name: "another" }, updateMask: { paths: ["name"] } });
  await keys.disableKey({ keyId });
  await keys.enableKey({ keyId });
  await keys.rotateKey({ keyId, requestId: crypto.randomUUID() });
  await keys.rotateKey({ keyId });
  await keys.listKeys({ showEnded: true });
  await keys.revokeKey({ keyId });
  await keys.deleteKey({ keyId });
  const { resetToken } = await step.admin.createPasswordReset({ userId, revokeKeys: true });
  await keys.issueKey({ name: "revoked by the reset" });
  await step.anyone.completePasswordReset({ resetToken, newPassword: PASSWORD });
}

async function servicesAskAboutKeys(step: Step): Promise<void> {
  const { admin, keys } = step;
  const { keys: own } = await register(step);
  const { apiKey, key } = await own.issueKey({ name: "a key" });
  const { apiKey: other } = await own.issueKey({ name: "a key" });
  const keyId = key!.id;
  await keys.verifyKey({ apiKey });
  await keys.batchVerifyKeys({ requests: [{ apiKey: other }, { apiKey }] });
  await keys.checkRateLimit({ subject: { case: "keyId", value: keyId } });
  await keys.batchCheckRateLimits({ requests: [{ subject: { case: "keyId", value: keyId } }] });
  await admin.resetRateLimits({ keyId });
}

async function operatorsList({ admin, keys, facts }: Step): Promise<void> {
  const { ownerId, actorId, subjectId, deepToken } = facts;
  for (const filter of [{}, { showEnded: true }, { ownerId }, { ownerId, showEnded: true }]) {
    const deep = deepToken("ListKeys", [filter.ownerId ?? "", filter.showEnded ?? false]);
    await pagesOf(deep, (pageToken) => keys.listKeys({ ...filter, pageToken }));
  }
  await pagesOf(deepToken("ListUsers", [""]), (pageToken) => admin.listUsers({ pageToken }));
  await admin.listUsers({ email: "person.5@example.com" });
  const [startMs, endMs] = [400, 20].map((days) => Date.now() - days * 86_400_000) as [number, number];
  const times = { startTime: timestampFromMs(startMs), endTime: timestampFromMs(endMs) };
  for (const filter of [{}, { actorId }, { subjectId }, { actorId, subjectId }]) {
    const ids = [filter.subjectId ?? "", filter.actorId ?? ""];
    const deep = deepToken("ListAuditEvents", [...ids, "undefined", "undefined"]);
    await pagesOf(deep, (pageToken) => admin.listAuditEvents({ ...filter, pageToken }));
    const deepInTime = deepToken("ListAuditEvents", [...ids, String(startMs), String(endMs)]);
    await pagesOf(deepInTime, (pageToken) => admin.listAuditEvents({ ...filter, ...times, pageToken }));
  }
  await pagesOf(deepToken("ListServiceCredentials", [false]), (pageToken) =>
    admin.listServiceCredentials({ pageToken, pageSize: 1 }),
  );
  await admin.listSigningKeys({});
}

type List = (pageToken: string) => Promise<{ readonly nextPageToken: string }>;

/** Reads the first two pages of a list, and one in the middle of it. */
async function pagesOf(deepToken: string, list: List): Promise<void> {
  const { nextPageToken } = await list("");
  if (nextPageToken !== "") await list(nextPageToken);
  await list(deepToken);
}

async function operatorsManage(step: Step): Promise<void> {
  const { admin, anyone } = step;
  const { user, resetToken } = await admin.createUser({ email: freshEmail() });
  const userId = user!.id;
  await anyone.completePasswordReset({ resetToken, newPassword: PASSWORD });
  await admin.getUser({ userId });
  await admin.updateUser({ user: { id: userId, tier: "pro" }, updateMask: { paths: ["tier"] } });
  await errorOf(anyone.login({ email: user!.email, password: WRONG }));
  await admin.clearLoginFailures({ userId });
  await admin.endUserSessions({ userId });
  await admin.disableUser({ userId });
  await admin.enableUser({ userId });
  const certificateNames = ["verifier.shop.example.com"];
  const named = { name: "verifier", scopes: ["verify"], certificateNames };
  const { credential } = await admin.issueServiceCredential(named);
  const credentialId = credential!.id;
  await admin.updateServiceCredential({ credential: { id: credentialId, certificateNames: ["other.example.com"] } });
  await admin.rotateServiceCredential({ credentialId });
  await admin.revokeServiceCredential({ credentialId });
  const { key } = await admin.rotateSigningKey({});
  await admin.revokeSigningKey({ keyId: key!.id });
  await admin.getServerInfo({});
}

/** Follows the feed as a near client does: the first messages, and again from the cursor. */
async function followChanges(keys: Client<typeof KeyService>): Promise<void> {
  let cursor = "";
  for (let times = 0; times < 2; times++) {
    const stopped = new AbortController();
    for await (const message of keys.watchRevocations({ cursor }, { signal: stopped.signal })) {
      ({ cursor } = message);
      break;
    }
    stopped.abort();
    await nextTurn();
  }
}
