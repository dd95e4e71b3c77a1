import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AuditEvent } from "../../src/audit/audit-event.ts";
import { WebhookDestination } from "../../src/destinations/webhook.ts";
import { newId } from "../../src/lib/id.ts";
import { StandingClock } from "../support/shifted-clock.ts";
import { startWebhookReceiver, WEBHOOK_SECRET, type WebhookReceiver } from "../support/webhook-receiver.ts";

const OTHER_SECRET = `whsec_${Buffer.from("another secret of the same length").toString("base64")}`;
/** Time for one answer. */
const TIMEOUT_MS = 300;

describe("a webhook", () => {
  let receiver: WebhookReceiver;
  const open: WebhookDestination[] = [];
  beforeEach(async () => {
    receiver = await startWebhookReceiver();
  });
  afterEach(async () => {
    for (const each of open.splice(0)) each.close();
    await receiver[Symbol.asyncDispose]();
  });

  function destination(secrets: readonly string[] = [WEBHOOK_SECRET], url = receiver.url): WebhookDestination {
    const made = new WebhookDestination({ url, secrets, clock: new StandingClock(), timeoutMs: TIMEOUT_MS });
    open.push(made);
    return made;
  }

  const event = (more: Partial<AuditEvent> = {}): AuditEvent => ({
    ...{
      id: newId("evt"),
      kind: "key.revoked",
      actorId: newId("svc"),
      subjectId: newId("key"),
      clientIp: "2001:db8::7",
    },
    ...{ happenedAtMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678), details: { reason: 'it\'s "ü" \u2028' } },
    ...more,
  });
  const failures = (map: ReadonlyMap<string, string>) => [...map.values()];

  it("has the event's fields and a signature that the library of Standard Webhooks accepts", async () => {
    const sent = event();
    const { delivered, failed } = await destination().deliver([sent]);
    expect([delivered, failed]).toEqual([new Set([sent.id]), new Map()]);
    const { id, actorId, subjectId, clientIp, details } = sent;
    const data = { id, actor_id: actorId, subject_id: subjectId, client_ip: clientIp, details };
    expect(receiver.taken).toEqual([
      { id, signatures: 1, type: "key.revoked", timestamp: "2026-01-02T03:04:05.678Z", data },
    ]);
  });

  it("is signed by each secret, so that a receiver that knows either accepts it", async () => {
    await destination([OTHER_SECRET, WEBHOOK_SECRET]).deliver([event()]);
    expect(receiver.taken.map(({ signatures }) => signatures)).toEqual([2]);
    const { failed } = await destination([OTHER_SECRET]).deliver([event()]);
    expect(failures(failed), "the receiver does check").toEqual(["HTTP 401"]);
    expect(receiver.forged).toBe(1);
  });

  it("has the same id in each attempt, and another one when a counted event has grown", async () => {
    const counted = (count: string) => event({ id: "evt_1", kind: "login.failed", details: { count, last_time: "t" } });
    const webhook = destination();
    for (const sent of [counted("1"), counted("1"), counted("7"), event({ id: "evt_2", details: { count: "9" } })]) {
      await webhook.deliver([sent]);
    }
    expect(receiver.taken.map(({ id }) => id)).toEqual(["evt_1-1", "evt_1-1", "evt_1-7", "evt_2"]);
  });

  it("is sent for each subject in order, one after the other, and stops at the first failure", async () => {
    const [a, b] = [newId("key"), newId("key")];
    const events = Array.from({ length: 9 }, (_, n) => event({ subjectId: n % 3 === 0 ? b : a }));
    const refused = events.filter(({ subjectId }) => subjectId === a)[2]!;
    let running = 0;
    let most = 0;
    receiver.answer = (response, { data }) => {
      if (data.subject_id === a) most = Math.max(most, ++running);
      if (data.subject_id === a) running--;
      response.writeHead(data.id === refused.id ? 422 : 200).end("ok");
    };
    const { delivered, failed } = await destination().deliver(events);
    const of = (subject: string) =>
      receiver.taken.filter(({ data }) => data.subject_id === subject).map(({ id }) => id);
    const sentOf = (subject: string) => events.filter(({ subjectId }) => subjectId === subject).map(({ id }) => id);
    expect(of(b)).toEqual(sentOf(b));
    expect(of(a)).toEqual(sentOf(a).slice(0, 2));
    expect(failed).toEqual(new Map([[refused.id, "HTTP 422"]]));
    expect([...delivered].sort()).toEqual([...of(a), ...of(b)].sort());
    expect(most).toBe(1);
  });

  it("fails if the receiver gives no answer in time, ends the connection, or can't be found", async () => {
    receiver.answer = () => {};
    const { failed, refused } = await destination().deliver([event()]);
    expect([failures(failed), refused]).toEqual([["no answer in time"], new Set()]);
    receiver.answer = (_response, _webhook, request) => request.socket.destroy();
    expect(failures((await destination().deliver([event()])).failed)).toEqual(["ECONNRESET"]);
    const nowhere = destination([WEBHOOK_SECRET], "http://receiver.invalid/");
    const [reason] = failures((await nowhere.deliver([event()])).failed);
    expect(["ENOTFOUND", "EAI_AGAIN", "no answer in time"]).toContain(reason);
  });

  it("tries no further subject once the first eight have failed", async () => {
    receiver.answer = (response) => void response.writeHead(503).end();
    const { delivered, failed, refused } = await destination().deliver(Array.from({ length: 50 }, () => event()));
    expect([delivered.size, failed.size, receiver.requests]).toEqual([0, 8, 8]);
    expect(refused, "the exporter tries other subjects next").toEqual(new Set(failed.keys()));
  });

  it("follows no redirect", async () => {
    const elsewhere = await startWebhookReceiver();
    receiver.answer = (response) => void response.writeHead(307, { location: elsewhere.url }).end();
    expect(failures((await destination().deliver([event()])).failed)).toEqual(["HTTP 307"]);
    expect(elsewhere.requests).toBe(0);
    await elsewhere[Symbol.asyncDispose]();
  });

  it("reads no endless answer, and no header of more than 16 KiB", async () => {
    let ended = false;
    receiver.answer = (response) => {
      const write = () => response.write("x".repeat(1 << 16), (error) => (error ? undefined : write()));
      response.writeHead(200).on("close", () => {
        ended = true;
      });
      write();
    };
    const webhook = destination();
    expect((await webhook.deliver([event()])).delivered.size).toBe(1);
    await expect.poll(() => ended).toBe(true);
    receiver.answer = (response) => void response.writeHead(200, { "x-long": "x".repeat(17 << 10) }).end();
    expect(failures((await webhook.deliver([event()])).failed)).toEqual(["HPE_HEADER_OVERFLOW"]);
  });

  it("passes on how long the receiver asks to wait, in seconds or as a date", async () => {
    const clock = new StandingClock();
    const webhook = new WebhookDestination({ url: receiver.url, secrets: [WEBHOOK_SECRET], clock });
    open.push(webhook);
    const date = new Date(Math.ceil(clock.nowMs() / 1000) * 1000 + 90_000);
    const waits = [];
    for (const value of ["120", date.toUTCString(), "-1", "soon", "99999999999"]) {
      receiver.answer = (response) => void response.writeHead(429, { "retry-after": value }).end();
      waits.push((await webhook.deliver([event()])).retryAfterMs);
    }
    expect(waits).toEqual([120_000, date.getTime() - clock.nowMs(), undefined, undefined, undefined]);
  });

  it("ends when it is closed", async () => {
    receiver.answer = () => {};
    const webhook = new WebhookDestination({
      url: receiver.url,
      secrets: [WEBHOOK_SECRET],
      clock: new StandingClock(),
    });
    const delivery = webhook.deliver([event()]);
    await expect.poll(() => receiver.requests).toBe(1);
    webhook.close();
    expect((await delivery).failed.size).toBe(1);
  });
});
