/**
 * Yesterday's dump in place of a lost database: what works again that must not, and `latchkey audit repeat`, which ends
 * it by the exported audit trail. Real servers.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { command } from "../command/command.ts";
import { clientOf, PASSWORD } from "../support/in-process-service.ts";
import { answerTo } from "../support/measurements.ts";
import { dumpDatabase, type PostgresServer, restoreDatabase, startPostgres } from "../support/own-postgres.ts";
import { canStart } from "../support/shared-servers.ts";
import {
  bootstrapOperator,
  type Cast,
  castAt,
  type IssuedKey,
  type ReadyService,
  serviceEnvironment,
  startService,
} from "../support/spawned-service.ts";
import { until } from "../support/until.ts";

const NEW_PASSWORD = "a paper kite above quiet water";

describe.skipIf(!canStart("postgres"))("a restored backup", () => {
  let postgres: PostgresServer;
  let env: NodeJS.ProcessEnv;
  let cast: Cast;
  let restored: ReadyService;
  let backupTime: string;
  /** A person with a key, a session and a password that change after the backup. */
  let person: { id: string; email: string; refreshToken: string; accessToken: string };
  let disabledPerson: string;
  let retiredService: string;
  const keys: Record<"kept" | "revoked" | "disabled" | "deleted" | "rotated" | "narrowed", IssuedKey> = {} as never;
  let ofDisabledPerson: IssuedKey;
  let issuedSince: IssuedKey;

  const trail = () => join(env.LATCHKEY_DATA_DIR!, "audit.jsonl");
  const verdict = async (service: ReadyService, { raw }: IssuedKey) =>
    (await answerTo(() => clientOf(service.address, KeyService, cast.verifier).verifyKey({ apiKey: raw, cost: 0 })))
      .said;
  const codeOf = (call: Promise<unknown>) =>
    call.then(
      () => "OK",
      (error) => Code[ConnectError.from(error).code],
    );

  async function newPerson(service: ReadyService, email: string) {
    const { user, tokens } = await clientOf(service.address, AuthService).register({ email, password: PASSWORD });
    return { id: user!.id, email, ...tokens! };
  }
  async function newKey(service: ReadyService, ownerId: string): Promise<IssuedKey> {
    const management = clientOf(service.address, KeyService, cast.admin);
    const { key, apiKey } = await management.issueKey({
      name: "a key",
      ownerId,
      limits: { perMinute: 100, perDay: 100 },
    });
    return { id: key!.id, raw: apiKey };
  }

  /** Makes people, credentials and keys, and takes the backup. */
  async function backUp(service: ReadyService, url: string): Promise<string> {
    const admin = clientOf(service.address, AdminService, cast.admin);
    person = await newPerson(service, "ann@example.com");
    disabledPerson = (await newPerson(service, "bob@example.com")).id;
    retiredService = (await admin.issueServiceCredential({ name: "retired", scopes: ["verify"] })).secret;
    for (const name of ["kept", "revoked", "disabled", "deleted", "rotated", "narrowed"] as const) {
      keys[name] = await newKey(service, person.id);
    }
    ofDisabledPerson = await newKey(service, disabledPerson);
    backupTime = new Date().toISOString();
    return dumpDatabase(url);
  }

  /** Makes the changes between the backup and the loss of the database. */
  async function change(service: ReadyService): Promise<void> {
    const management = clientOf(service.address, KeyService, cast.admin);
    const admin = clientOf(service.address, AdminService, cast.admin);
    const auth = clientOf(service.address, AuthService, person.accessToken);
    await management.revokeKey({ keyId: keys.revoked.id, reason: "leaked" });
    await management.disableKey({ keyId: keys.disabled.id });
    await management.deleteKey({ keyId: keys.deleted.id });
    await management.rotateKey({ keyId: keys.rotated.id });
    const key = { id: keys.narrowed.id, limits: { perMinute: 1, perDay: 1 } };
    await management.updateKey({ key, updateMask: { paths: ["limits"] } });
    issuedSince = await newKey(service, person.id);
    await admin.disableUser({ userId: disabledPerson });
    await auth.changePassword({ currentPassword: PASSWORD, newPassword: NEW_PASSWORD });
    const { credentials } = await admin.listServiceCredentials({});
    await admin.revokeServiceCredential({ credentialId: credentials.find(({ name }) => name === "retired")!.id });
    const [signing] = (await admin.listSigningKeys({})).keys;
    await admin.revokeSigningKey({ keyId: signing!.id });
    const exported = () => existsSync(trail()) && readFileSync(trail(), "utf8").includes("signing_key.revoked");
    await until(exported, "the trail is exported");
  }

  beforeAll(async () => {
    postgres = await startPostgres();
    const url = await postgres.createDatabase("lost");
    env = serviceEnvironment({ DATABASE_URL: url });
    const admin = await bootstrapOperator(env);
    const service = await startService({ ...env, LATCHKEY_AUDIT_EXPORT: trail() });
    cast = await castAt(service.address, admin);
    const dump = await backUp(service, url);
    await change(service);
    expect(await verdict(service, keys.revoked)).toBe("REVOKED");
    const other = await postgres.createDatabase("restored");
    await restoreDatabase(other, dump);
    // The folder of the trail goes with the last process.
    restored = await startService({ ...env, DATABASE_URL: other });
    await service.stop();
  });
  afterAll(async () => {
    await restored?.stop();
    await postgres?.stop();
  });

  const repeat = (...more: readonly string[]) =>
    command(["audit", "repeat", "--trail", trail(), "--since", backupTime, "--json", ...more], {
      env: { LATCHKEY_ADDRESS: `http://${restored.address}`, LATCHKEY_CREDENTIAL: cast.admin },
    });
  /** Outcome of each change by its kind and subject. */
  async function outcomes(...more: readonly string[]): Promise<{ code: number; found: Record<string, string> }> {
    const { code, json } = await repeat(...more);
    const rows = json().changes as { kind: string; subjectId: string; todo: string; outcome: string }[];
    return { code, found: Object.fromEntries(rows.map((row) => [`${row.todo} ${row.subjectId}`, row.outcome])) };
  }

  it("makes good again what had been revoked since, and knows nothing that was issued since", async () => {
    for (const key of [keys.kept, keys.revoked, keys.disabled, keys.deleted, keys.rotated, ofDisabledPerson]) {
      expect(await verdict(restored, key)).toBe("VALID");
    }
    expect(await verdict(restored, issuedSince)).toBe("INVALID");
    const retired = clientOf(restored.address, KeyService, retiredService);
    expect(await codeOf(retired.verifyKey({ apiKey: keys.kept.raw }))).toBe("OK");
    const auth = clientOf(restored.address, AuthService);
    expect(await codeOf(auth.login({ email: person.email, password: NEW_PASSWORD }))).toBe("Unauthenticated");
    expect(await codeOf(clientOf(restored.address, AuthService, person.accessToken).listSessions({}))).toBe("OK");
  });

  it("is told by `latchkey audit repeat` what is lost, which changes nothing without --apply", async () => {
    const { code, found } = await outcomes();
    expect(code).toBe(1);
    expect(found).toMatchObject({
      [`revoke key ${keys.revoked.id}`]: "open",
      [`disable key ${keys.disabled.id}`]: "open",
      [`delete key ${keys.deleted.id}`]: "open",
      [`decide ${keys.rotated.id}`]: "decide",
      [`decide ${keys.narrowed.id}`]: "decide",
      [`issued ${issuedSince.id}`]: "lost",
      [`disable person ${disabledPerson}`]: "open",
      [`end sessions ${person.id}`]: "open",
      [`decide ${person.id}`]: "decide",
    });
    expect(Object.keys(found).filter((each) => each.includes(keys.kept.id))).toEqual([]);
    expect(await verdict(restored, keys.revoked)).toBe("VALID");
  });

  it("refuses again after --apply what had been refused, and keeps the rest", async () => {
    const { code, found } = await outcomes("--apply", "--yes");
    expect(code, "the decisions are left").toBe(1);
    expect(new Set(Object.values(found))).toEqual(new Set(["done", "decide", "lost"]));
    expect(await verdict(restored, keys.kept)).toBe("VALID");
    expect(await verdict(restored, keys.revoked)).toBe("REVOKED");
    expect(await verdict(restored, keys.disabled)).toBe("DISABLED");
    expect(await verdict(restored, keys.deleted)).toBe("INVALID");
    expect(await verdict(restored, ofDisabledPerson)).toBe("OWNER_DISABLED");
    const retired = clientOf(restored.address, KeyService, retiredService);
    expect(await codeOf(retired.verifyKey({ apiKey: keys.kept.raw }))).toBe("Unauthenticated");
    const auth = clientOf(restored.address, AuthService);
    expect(await codeOf(auth.refresh({ refreshToken: person.refreshToken }))).toBe("Unauthenticated");
    expect(await codeOf(clientOf(restored.address, AuthService, person.accessToken).listSessions({}))).toBe(
      "Unauthenticated",
    );
  });

  it("has nothing left to repeat after it, and the decisions until they are made", async () => {
    const { found } = await outcomes("--apply", "--yes");
    expect(new Set(Object.values(found))).toEqual(new Set(["decide", "lost"]));
    const admin = clientOf(restored.address, KeyService, cast.admin);
    await admin.revokeKey({ keyId: keys.rotated.id });
    await admin.updateKey({
      key: { id: keys.narrowed.id, limits: { perMinute: 1, perDay: 1 } },
      updateMask: { paths: ["limits"] },
    });
    const operator = clientOf(restored.address, AdminService, cast.admin);
    const { resetToken } = await operator.createPasswordReset({ userId: person.id, endAccess: true });
    await clientOf(restored.address, AuthService).completePasswordReset({ resetToken, newPassword: NEW_PASSWORD });
    const end = await outcomes();
    expect([end.code, new Set(Object.values(end.found))]).toEqual([0, new Set(["was so", "lost"])]);
  });
});
