/**
 * The comparison after all faults. Every process and near client must answer for every key, and every process for every
 * session, as the database's rows say, which this file reads with SQL of its own. It may correct a wrong answer within
 * 5 s.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { Cast, Clients, KnownKey } from "./cast.ts";
import { FRESH_MS, verdictOf } from "./check-verdicts.ts";
import { nowMs, type Violation } from "./history.ts";
import type { Truth } from "./truth.ts";
import { verify } from "./work-keys.ts";
import { verifyAt } from "./work-near.ts";
import { type KnownSession, whoAmI } from "./work-people.ts";
import type { World } from "./world.ts";

/** Maximum time for which an answer may be unavailable after everything is healed. */
const MOST_RECOVERY_MS = 30_000;
const ROUND_EVERY_MS = 200;
/** Maximum keys, and maximum sessions, of a sweep: the newest ones. */
const MOST_KEYS = 200;

interface Question {
  readonly what: string;
  readonly subject: string;
  readonly expected: string;
  /** The process' answer now; undefined if it gives none. */
  ask(at: Clients): Promise<string | undefined>;
  /** The answer of the near client of a process. */
  askNear?(process: number): Promise<string | undefined>;
}

export async function sweep(
  world: World,
  cast: Cast,
  sessions: readonly KnownSession[],
  truth: () => Promise<Truth>,
): Promise<readonly Violation[]> {
  const questions = [...(await keyQuestions(cast, truth, world)), ...(await sessionQuestions(world, cast, sessions))];
  const startedMs = nowMs();
  const ofNear = questions.filter(({ askNear }) => askNear !== undefined);
  const violations = await Promise.all([
    ...cast.clients.map((at) => sweepPlace(`process ${at.process}`, (one) => one.ask(at), questions, startedMs)),
    ...cast.clients.map(({ process }) =>
      sweepPlace(`near client ${process}`, (one) => one.askNear!(process), ofNear, startedMs),
    ),
  ]);
  return violations.flat();
}

async function sweepPlace(
  place: string,
  ask: (question: Question) => Promise<string | undefined>,
  questions: readonly Question[],
  startedMs: number,
): Promise<Violation[]> {
  let open = questions.map((question) => ({ question, said: undefined as string | undefined }));
  for (;;) {
    const roundMs = nowMs() - startedMs;
    const still: typeof open = [];
    for (const { question } of open) {
      const said = await ask(question);
      if (said !== question.expected) still.push({ question, said });
    }
    open = still;
    if (open.length === 0) return [];
    const isWrong = ({ said }: (typeof open)[number]) => said !== undefined;
    if ((roundMs > FRESH_MS && open.every(isWrong)) || roundMs > MOST_RECOVERY_MS) break;
    await pause(ROUND_EVERY_MS);
  }
  return open.map(({ question, said }) => ({
    rule: "sweep",
    text: `${place} says ${said ?? "nothing"} of ${question.what}, the database says ${question.expected}`,
    subject: question.subject,
    atMs: nowMs(),
  }));
}

async function keyQuestions(cast: Cast, readTruth: () => Promise<Truth>, world: World): Promise<Question[]> {
  const rows = await world.query(
    `select k.id, k.state, k.deleted_at is not null as "isDeleted", k.scopes, u.state as "ownerState"
     from public.api_keys k join public.users u on u.id = k.owner_id`,
  );
  const standings = new Map(rows.map((row) => [row.id as string, row]));
  const secrets = await world.query(
    "select key_id, encode(digest, 'hex') as digest, expires_at from public.key_secrets",
  );
  const truth = await readTruth();
  const atMs = nowMs();
  const expectedOf = (key: KnownKey, secretName: string) => {
    const digest = truth.secrets.get(secretName)?.[0]?.value?.digest.replace("\\x", "");
    const secret = secrets.find((row) => row.digest === digest);
    const row = standings.get(key.id);
    const endsAtMs = (secret?.expires_at as Date | null)?.getTime();
    if (digest === undefined || (endsAtMs !== undefined && endsAtMs > atMs)) return undefined;
    return verdictOf(
      {
        key: row as never,
        ownerState: row?.ownerState as string,
        secret: secret && { digest, expiresAtMs: endsAtMs },
        hasSecretEnded: endsAtMs !== undefined,
      },
      "",
    );
  };
  return cast.keys.slice(-MOST_KEYS).flatMap((key) =>
    key.secrets.flatMap((secret) => {
      const expected = expectedOf(key, secret.name);
      if (expected === undefined || key.limit !== undefined) return [];
      const shown = { key, secret, scope: "", cost: 0 };
      return {
        what: `secret ${secret.name}`,
        subject: key.id,
        expected,
        ask: (at: Clients) => verify(cast, at, shown, true),
        askNear: (process: number) => verifyAt(cast, world.near, process, { key, secret, scope: "" }),
      };
    }),
  );
}

async function sessionQuestions(
  world: World,
  cast: Cast,
  sessions: readonly KnownSession[],
): Promise<readonly Question[]> {
  const rows = await world.query('select id, ended_at is null as "isLive" from public.sessions');
  const live = new Set(rows.filter(({ isLive }) => isLive).map(({ id }) => id));
  return sessions.slice(-MOST_KEYS).map((session) => ({
    what: `session ${session.id}`,
    subject: session.id,
    expected: live.has(session.id) ? "live" : "ended",
    ask: async (at: Clients) => {
      const isLive = await whoAmI(world, cast, session, at, true);
      return isLive === undefined ? undefined : isLive ? "live" : "ended";
    },
  }));
}
