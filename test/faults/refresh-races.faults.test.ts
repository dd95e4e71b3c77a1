/** Sessions while many callers use one at once: three real processes on one real PostgreSQL. */

import { setTimeout as pause } from "node:timers/promises";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService, type RefreshResponse } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import type { TokenPair } from "../../src/gen/latchkey/v1/token_pair_pb.ts";
import { checksum62 } from "../../src/lib/base62.ts";
import { errorOf } from "../support/errors.ts";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { startFleet } from "../support/fleet.ts";
import { clientOf, PASSWORD } from "../support/in-process-service.ts";
import { withFault } from "../support/mutant-process.ts";
import { type PostgresServer, startPostgres } from "../support/own-postgres.ts";
import { canStart } from "../support/shared-servers.ts";
import { type ReadyService, startService } from "../support/spawned-service.ts";
import { letPass } from "../support/until.ts";

const ROUNDS = 60;
const CALLERS = 50;
/** The grace of a replay: long enough for 50 callers on a busy machine, and short enough for a test to wait. */
const GRACE_MS = 3000;
const SESSIONS_STOLEN = 10;
const RACES = 40;
const LOGINS = 6;
const NEW_PASSWORD = "another one that is just as odd";
/** Every process knows the end of a session within 5 s. This leaves a second of room. */
const KNOWN_WITHIN_MS = 6000;

/** The faults of the controls. Each control shows that its test finds the fault. */
const TWO_SUCCESSORS = {
  file: "src/postgres/stores/session-store.ts",
  // biome-ignore lint/suspicious/noTemplateCurlyInString: text of a source
  search: "generation = case when ${newest} then s.generation + 1 else s.generation end",
  replacement: "generation = s.generation + 1",
};
const NO_END = {
  file: "src/postgres/stores/session-store.ts",
  // biome-ignore lint/suspicious/noTemplateCurlyInString: text of a source
  search: "ended_at = case when ${reused} then ${now} end",
  replacement: "ended_at = null",
};
const UNLOCKED_LOGIN = {
  file: "src/postgres/rows/session-rows.ts",
  search: "     for update of u\n",
  replacement: "",
};

type Auth = Client<typeof AuthService>;

interface Person {
  readonly email: string;
  readonly userId: string;
  readonly tokens: TokenPair;
}

/** A change that logins race with, in round n. @returns tokens of the one session that may survive */
type Change = (person: Person, n: number) => Promise<TokenPair | undefined>;

describe.skipIf(!canStart("postgres"))("three processes on one PostgreSQL", () => {
  let postgres: PostgresServer;
  let env: NodeJS.ProcessEnv;
  let admin: string;
  let processes: ReadyService[] = [];
  let all: readonly Auth[];
  /** Proxies between the third process and PostgreSQL, and between a client and the first process. */
  let databaseLink: FaultProxy;
  let clientLink: FaultProxy;
  let numbers = 0;

  beforeAll(async () => {
    postgres = await startPostgres();
    databaseLink = await startFaultProxy(postgres.port);
    const linked = new URL(postgres.url());
    linked.port = `${databaseLink.port}`;
    const settings = {
      DATABASE_URL: postgres.url(),
      LATCHKEY_REFRESH_GRACE_SECONDS: `${GRACE_MS / 1000}`,
      LATCHKEY_TRUSTED_PROXIES: "127.0.0.0/8",
      // One session gets fifty calls at once in each round.
      LATCHKEY_CHANGES_PER_MINUTE: "1000000",
      // Cheap hashes, because no test here depends on their cost.
      LATCHKEY_ARGON2_MEMORY_KIB: "1024",
      LATCHKEY_ARGON2_PASSES: "1",
    };
    const fleet = await startFleet(settings, [{}, {}, { DATABASE_URL: linked.href }]);
    ({ env, admin } = fleet);
    processes = [...fleet.processes];
    all = processes.map(({ address }) => clientOf(address, AuthService));
    clientLink = await startFaultProxy(Number(processes[0]!.address.split(":").at(-1)));
  });
  afterAll(async () => {
    await Promise.all(processes.map((process) => process.stop()));
    for (const each of [clientLink, databaseLink, postgres]) await each?.stop();
  });

  /** Call options of a client with an address of its own. */
  const fromAnywhere = () => ({ headers: { "x-forwarded-for": `10.${++numbers >> 8}.${numbers & 255}.1` } });

  async function newPerson(): Promise<Person> {
    const email = `racer-${++numbers}@example.com`;
    const { user, tokens } = await all[0]!.register({ email, password: PASSWORD }, fromAnywhere());
    return { email, userId: user!.id, tokens: tokens! };
  }

  const sessionIdOf = ({ refreshToken }: TokenPair) => `ses_${refreshToken.split("_")[2]}`;
  const ask = (client: Auth, { refreshToken }: TokenPair) => client.refresh({ refreshToken }, fromAnywhere());
  const codeOf = (call: Promise<unknown>) =>
    call.then(
      () => "OK",
      (error: unknown) => Code[ConnectError.from(error).code] as string,
    );

  function generationOf(tokens: TokenPair): Promise<string> {
    return postgres.sql(`select generation from sessions where id = '${sessionIdOf(tokens)}'`);
  }

  async function eventsOf(tokens: TokenPair) {
    const operator = clientOf(processes[0]!.address, AdminService, admin);
    return (await operator.listAuditEvents({ subjectId: sessionIdOf(tokens) })).events;
  }

  /** Waits until the grace has passed on PostgreSQL's clock since the session's newest token was made. */
  async function waitForGrace(tokens: TokenPair): Promise<void> {
    const over = `select now() > refreshed_at + interval '${GRACE_MS} milliseconds' from sessions where id = '${sessionIdOf(tokens)}'`;
    await expect.poll(() => postgres.sql(over), { timeout: 4 * GRACE_MS, interval: 50 }).toBe("t");
  }

  /** Refreshes one token with 50 calls at once, spread over these processes. */
  async function refreshAtOnce(clients: readonly Auth[], tokens: TokenPair) {
    const outcomes = await Promise.allSettled(
      Array.from({ length: CALLERS }, (_, n) => ask(clients[n % clients.length]!, tokens)),
    );
    const answers = outcomes.flatMap((each) => (each.status === "fulfilled" ? [each.value.tokens!] : []));
    const refusals = outcomes.flatMap((each) => (each.status === "rejected" ? [ConnectError.from(each.reason)] : []));
    return { answers, refusals };
  }

  const successorsIn = (answers: readonly TokenPair[]) =>
    new Set(
      answers.map(({ refreshToken, refreshTokenExpireTime: at }) => `${refreshToken} ${at!.seconds} ${at!.nanos}`),
    );

  it("give fifty concurrent callers one successor, in each of 100 rounds", async () => {
    const { tokens } = await newPerson();
    let newest = tokens;
    let refused = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const { answers, refusals } = await refreshAtOnce(all, newest);
      expect(successorsIn(answers).size, `round ${round}`).toBe(1);
      expect(answers[0]!.refreshToken).not.toBe(newest.refreshToken);
      // On a busy machine a caller may wait too long and get UNAVAILABLE, but no caller is refused.
      expect(refusals.filter(({ code }) => code !== Code.Unavailable)).toEqual([]);
      refused += refusals.length;
      newest = answers[0]!;
    }
    expect(await generationOf(tokens)).toBe(`${1 + ROUNDS}`);
    expect((await eventsOf(tokens)).map(({ kind }) => kind)).toEqual(["session.begun"]);
    process.stderr.write(`      ${ROUNDS * CALLERS} calls of Refresh, ${refused} without an answer\n`);
    expect(refused).toBeLessThan((ROUNDS * CALLERS) / 100);
  });

  it("would give several successors if a process did not recognise a replay: the control", async () => {
    const { tokens } = await newPerson();
    await using mutant = await startService(env, withFault(TWO_SUCCESSORS));
    const { answers } = await refreshAtOnce([...all, clientOf(mutant.address, AuthService)], tokens);
    expect(successorsIn(answers).size).toBeGreaterThan(1);
  });

  it("end the session at a replay after the grace at any process, and record it", async () => {
    const thefts: { readonly replayed: Auth; readonly victim: Person; readonly successor: TokenPair }[] = [];
    for (const [n, replayed] of all.entries()) {
      const elsewhere = all[(n + 1) % all.length]!;
      for (const victim of await Promise.all(Array.from({ length: SESSIONS_STOLEN }, () => newPerson()))) {
        const { tokens: successor } = await ask(elsewhere, victim.tokens);
        // The control: within the grace a replay counts as a lost answer and gets the same successor.
        expect((await ask(replayed, victim.tokens)).tokens!.refreshToken).toBe(successor!.refreshToken);
        thefts.push({ replayed, victim, successor: successor! });
      }
    }
    await waitForGrace(thefts.at(-1)!.victim.tokens);
    for (const { replayed, victim, successor } of thefts) {
      const origin = fromAnywhere();
      const refused = await errorOf(replayed.refresh({ refreshToken: victim.tokens.refreshToken }, origin));
      expect(refused).toMatchObject({ code: Code.Unauthenticated, reason: "REFRESH_TOKEN_INVALID" });
      for (const client of all) expect(await errorOf(ask(client, successor))).toEqual(refused);
      const events = await eventsOf(victim.tokens);
      expect(events.map(({ kind }) => kind)).toEqual(["session.token_reused", "session.begun"]);
      expect(events[0]).toMatchObject({ clientIp: origin.headers["x-forwarded-for"] });
    }
    for (const { victim, successor } of thefts) await expectEnded(successor.accessToken, victim.userId);
  });

  it("would let a thief go on if a replay ended nothing: the control", async () => {
    const { tokens } = await newPerson();
    await using mutant = await startService(env, withFault(NO_END));
    const thief = clientOf(mutant.address, AuthService);
    const { tokens: successor } = await ask(all[0]!, tokens);
    await waitForGrace(tokens);
    await codeOf(ask(thief, tokens));
    expect(await codeOf(ask(all[0]!, successor!))).toBe("OK");
  });

  it("end no session for a forged generation or MAC", async () => {
    const { tokens } = await newPerson();
    let newest = tokens;
    for (let generation = 1; generation < 4; generation++) newest = (await ask(all[0]!, newest)).tokens!;
    const forgeries = [
      ...[1, 2, 3, 5, 999_999_999].map((generation) => newest.refreshToken.replace("_4_", `_${generation}_`)),
      newest.refreshToken.replace(/_4_(.)/, (_, first) => `_4_${first === "0" ? "1" : "0"}`),
      // The MAC of the first generation with the number of the newest one.
      tokens.refreshToken.replace("_1_", "_4_"),
    ].map((text) => text.slice(0, -6) + checksum62(text.slice(0, -6)));
    for (const client of all) {
      for (const refreshToken of forgeries) {
        const refused = await errorOf(client.refresh({ refreshToken }, fromAnywhere()));
        expect(refused).toMatchObject({ code: Code.Unauthenticated, reason: "REFRESH_TOKEN_INVALID" });
      }
      newest = (await ask(client, newest)).tokens!;
    }
    expect((await eventsOf(tokens)).map(({ kind }) => kind)).toEqual(["session.begun"]);
    // The control: the genuine token of that generation ends the session.
    await codeOf(ask(all[0]!, tokens));
    expect(await codeOf(ask(all[1]!, newest))).toBe("Unauthenticated");
  });

  it("give the same successor again if PostgreSQL's answer to COMMIT was lost", async () => {
    for (let round = 0; round < 5; round++) {
      const { tokens } = await newPerson();
      const lost = databaseLink.loseAnswerTo("update sessions s set", "commit");
      await expectSameSuccessor(tokens, lost, databaseLink, codeOf(ask(all[2]!, tokens)), all);
    }
  });

  it("give the same successor again if the client's connection broke before the answer", async () => {
    for (let round = 0; round < 5; round++) {
      const { tokens } = await newPerson();
      const client = clientOf(`127.0.0.1:${clientLink.port}`, AuthService);
      const lost = clientLink.loseAnswerTo(tokens.refreshToken);
      await expectSameSuccessor(tokens, lost, clientLink, codeOf(ask(client, tokens)), all);
    }
  });

  async function expectSameSuccessor(
    tokens: TokenPair,
    lost: Promise<void>,
    link: FaultProxy,
    asked: Promise<string>,
    retried: readonly Auth[],
  ): Promise<void> {
    await lost;
    // The fault happened: the refresh is committed, and its caller has no answer.
    await expect.poll(() => generationOf(tokens), { timeout: 5000, interval: 5 }).toBe("2");
    expect(await Promise.race([asked, pause(0, "no answer")])).toBe("no answer");
    await link.cut();
    expect(await asked).not.toBe("OK");
    await link.restore();
    const answers: RefreshResponse[] = [];
    // The process that lost its connection makes a new one, and is UNAVAILABLE for a moment.
    for (const client of retried) {
      await expect
        .poll(() => ask(client, tokens).then((answer) => answers.push(answer)), { timeout: GRACE_MS, interval: 20 })
        .toBeGreaterThan(0);
    }
    expect(answers).toHaveLength(retried.length);
    expect(successorsIn(answers.map((answer) => answer.tokens!)).size).toBe(1);
    expect(await generationOf(tokens)).toBe("2");
    expect((await ask(retried[0]!, answers[0]!.tokens!)).tokens!.refreshToken).toContain("_3_");
  }

  const CHANGES: Record<string, Change> = {
    ChangePassword: async ({ tokens }) => {
      const client = clientOf(processes[1]!.address, AuthService, tokens.accessToken);
      const change = { currentPassword: PASSWORD, newPassword: NEW_PASSWORD };
      return (await client.changePassword(change, fromAnywhere())).tokens;
    },
    DisableUser: async ({ userId }, n) => {
      // DisableUser makes no hash, so it would always be early.
      await letPass(n % 30, "each race meets the change at another point");
      await clientOf(processes[1]!.address, AdminService, admin).disableUser({ userId });
      return undefined;
    },
  };

  /**
   * Repeats logins at all processes around the moment of a change, at most RACES times. It stops after the first race
   * that leaves a session behind.
   *
   * @returns the number of sessions that were left, and of the logins before and after the change
   */
  async function race(change: string, clients: readonly Auth[]) {
    const seen = { refused: 0, begun: 0, left: 0, tokens: [] as { accessToken: string; userId: string }[] };
    for (let n = 0; n < RACES && seen.left === 0; n++) {
      const person = await newPerson();
      const logins = Promise.allSettled(
        Array.from({ length: LOGINS }, async (_, at) => {
          await letPass(at * 5, "logins come one after another around the change");
          return clients[at % clients.length]!.login({ email: person.email, password: PASSWORD }, fromAnywhere());
        }),
      );
      // The change comes before most of the logins in some rounds, and after most of them in others.
      await letPass((n % LOGINS) * 10, "now before most of the logins, now behind most of them");
      const survivor = await CHANGES[change]!(person, n);
      for (const login of await logins) {
        if (login.status === "rejected") seen.refused++;
        else seen.tokens.push({ accessToken: login.value.tokens!.accessToken, userId: person.userId });
      }
      const own = survivor === undefined ? "" : sessionIdOf(survivor);
      seen.left += Number(
        await postgres.sql(
          `select count(*) from sessions where user_id = '${person.userId}' and ended_at is null and id <> '${own}'`,
        ),
      );
    }
    seen.begun = seen.tokens.length;
    process.stderr.write(`      ${change}: ${seen.begun} logins before it, ${seen.refused} after, ${seen.left} left\n`);
    return seen;
  }

  /** Expects that every process refuses the access token within KNOWN_WITHIN_MS. */
  async function expectEnded(accessToken: string, userId: string): Promise<void> {
    for (const { address } of processes) {
      const client = clientOf(address, AuthService, accessToken);
      await expect
        .poll(() => codeOf(client.getCurrentUser({})), { timeout: KNOWN_WITHIN_MS, interval: 20, message: userId })
        .toBe("Unauthenticated");
    }
  }

  it.each(Object.keys(CHANGES))("leave no session behind if logins race with %s", async (change) => {
    const { left, begun, refused, tokens } = await race(change, all);
    expect(left).toBe(0);
    // The races happened: some logins came before the change, and some after it.
    expect(Math.min(begun, refused)).toBeGreaterThan(RACES / 4);
    for (const { accessToken, userId } of tokens.slice(-10)) await expectEnded(accessToken, userId);
  });

  it.each(Object.keys(CHANGES))(
    "would leave a session behind if a login did not wait for the lock of its person (%s): the control",
    async (change) => {
      await using mutant = await startService(env, withFault(UNLOCKED_LOGIN));
      expect((await race(change, [clientOf(mutant.address, AuthService)])).left).toBeGreaterThan(0);
    },
  );
});
