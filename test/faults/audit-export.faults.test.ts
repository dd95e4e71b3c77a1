/** The export of the audit trail by two processes, to a receiver that fails, hangs and comes back. Real servers. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { type Fleet, startFleet } from "../support/fleet.ts";
import { clientOf } from "../support/in-process-service.ts";
import { type PostgresServer, startPostgres } from "../support/own-postgres.ts";
import { canStart } from "../support/shared-servers.ts";
import type { Cast, ReadyService } from "../support/spawned-service.ts";
import { eventually, until } from "../support/until.ts";
import { startWebhookReceiver, WEBHOOK_SECRET, type WebhookReceiver } from "../support/webhook-receiver.ts";

/** A kind and a subject of an event. */
type Told = readonly [kind: string, subject: string];

describe.skipIf(!canStart("postgres"))("the export of the audit trail", () => {
  let postgres: PostgresServer;
  let receiver: WebhookReceiver;
  let fleet: Fleet;
  let cast: Cast;
  let ownerId: string;
  beforeAll(async () => {
    [postgres, receiver] = await Promise.all([startPostgres(), startWebhookReceiver()]);
    fleet = await startFleet(
      {
        DATABASE_URL: await postgres.createDatabase("trail"),
        LATCHKEY_AUDIT_EXPORT: "stdout",
        LATCHKEY_WEBHOOK_URL: receiver.url,
        LATCHKEY_WEBHOOK_SECRETS: WEBHOOK_SECRET,
      },
      [{}, {}],
    );
    cast = await fleet.cast();
    const [made] = await cast.issue(1);
    ownerId = (await keysAt(fleet.service).getKey({ keyId: made!.id })).key!.ownerId;
  });
  afterAll(async () => {
    await fleet?.stop();
    await receiver?.[Symbol.asyncDispose]();
    await postgres?.stop();
  });

  const keysAt = (service: ReadyService) => clientOf(service.address, KeyService, cast.admin);

  /** Issues, disables, enables and revokes a key, by one process after the other. */
  async function liveOf(processes = fleet.processes): Promise<string> {
    const { key } = await keysAt(processes.at(-1)!).issueKey({ name: "a life", ownerId });
    const keyId = key!.id;
    const calls = ["disableKey", "enableKey", "revokeKey"] as const;
    for (const [n, call] of calls.entries()) await keysAt(processes[n % processes.length]!)[call]({ keyId });
    return keyId;
  }
  const LIFE = ["key.issued", "key.disabled", "key.enabled", "key.revoked"];

  /** The events that the receiver took about a subject, in order, each once. */
  const takenOf = (subject: string) => [
    ...new Map(
      receiver.taken.filter(({ data }) => data.subject_id === subject).map(({ id, type }) => [id, type]),
    ).values(),
  ];
  const expectTaken = (subjects: readonly string[]) =>
    eventually(() => expect(subjects.map(takenOf)).toEqual(subjects.map(() => LIFE)));

  /** The events on the standard outputs of both processes. Each line is JSON, or belongs to the log. */
  function printed(): Told[] {
    const lines = fleet.processes.flatMap((service) => service.output().trimEnd().split("\n"));
    return lines
      .map((line) => JSON.parse(line) as { level?: number; type?: string; data?: { subject_id: string } })
      .filter(({ level }) => level === undefined)
      .map(({ type, data }) => [type!, data!.subject_id]);
  }

  /** The events that ListAuditEvents shows. */
  async function shown(service: ReadyService): Promise<Told[]> {
    const admin = clientOf(service.address, AdminService, cast.admin);
    const { events } = await admin.listAuditEvents({ pageSize: 250 });
    return events.map(({ kind, subjectId }) => [kind, subjectId]);
  }

  it("brings a receiver that fails, hangs and comes back each event, in order per subject, and holds up no call", async () => {
    const first = await liveOf();
    await expectTaken([first]);

    receiver.answer = (response) => void response.writeHead(500).end();
    const failing = receiver.requests;
    const second = await liveOf();
    await until(() => receiver.requests > failing, "the receiver has failed");

    receiver.answer = () => {};
    const hanging = receiver.requests;
    await until(() => receiver.requests > hanging, "a request hangs");
    const began = performance.now();
    const others = [await liveOf(), await liveOf()];
    // No call waits for the receiver, which would take 15 s.
    expect(performance.now() - began).toBeLessThan(10_000);
    expect(takenOf(second)).toEqual([]);

    receiver.answer = (response) => void response.writeHead(200).end("thanks");
    receiver.endConnections();
    await expectTaken([first, second, ...others]);
    expect(receiver.forged).toBe(0);
    const ids = receiver.taken.map(({ data }) => data.id);
    expect(new Set(ids).size, "nothing was taken twice, because no process ended").toBe(ids.length);
  });

  it("shows on standard output and to the receiver all that the audit trail has, between whole lines of the log", async () => {
    const trail = await shown(fleet.service);
    const key = ([kind, subject]: Told) => `${kind} ${subject}`;
    // What bootstrap did came before the first process began to export.
    const expected = trail
      .filter(([kind]) => kind !== "credential.issued")
      .map(key)
      .sort();
    const isNews = ([kind]: Told) => kind !== "credential.issued";
    await eventually(() => expect(printed().filter(isNews).map(key).sort()).toEqual(expected));
    const taken = receiver.taken.map(({ type, data }): Told => [type, data.subject_id]);
    expect(taken.filter(isNews).map(key).sort()).toEqual(expected);
    expect(fleet.processes.map((service) => service.output()).join("")).not.toContain(WEBHOOK_SECRET);
  });

  it("loses no event and no order if the exporting process is killed in the middle of a delivery", async () => {
    const exporting = (service: ReadyService) => service.output().includes('"destination":"webhook"');
    const killed = fleet.processes.find(exporting)!;
    const left = fleet.processes.find((service) => service !== killed)!;
    expect(exporting(left), "one process exports").toBe(false);
    const before = receiver.requests;
    // The receiver takes events, and tells the process so only after its end.
    receiver.answer = (_response, webhook) => void receiver.taken.push(webhook);
    const subjects = await Promise.all([liveOf(), liveOf(), liveOf()]);
    await until(() => receiver.requests >= before + subjects.length, "requests are under way");
    killed.signal("SIGKILL");
    await killed.ended();
    receiver.answer = (response) => void response.writeHead(204).end();
    subjects.push(await liveOf([left]));
    expect(subjects.slice(0, 3).flatMap(takenOf).length).toBeLessThan(3 * LIFE.length);
    // The 45 s of the lease pass.
    await postgres.sql("update audit_exports set leased_until = now()", "trail");
    await expectTaken(subjects);
    const ids = receiver.taken.map(({ data }) => data.id);
    expect(ids.length, "the events under way came again, with the same id").toBeGreaterThan(new Set(ids).size);
    await eventually(() => {
      const kinds = subjects.map((id) => new Set(printed().flatMap(([kind, subject]) => (subject === id ? kind : []))));
      expect(kinds).toEqual(subjects.map(() => new Set(LIFE)));
    });
    await until(
      async () => (await postgres.sql("select count(*) from audit_outbox", "trail")) === "0",
      "nothing waits",
    );
  });
});
