/** Clients that log in, refresh, read their own user and log out, and clients that exceed small limits. */
import { createHash } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import type { TokenPair } from "../../src/gen/latchkey/v1/token_pair_pb.ts";
import { clientOf, PASSWORD } from "../support/clients.ts";
import { CALL_MS, type Cast, type Clients, SMALL_LIMIT } from "./cast.ts";
import { called } from "./recorder.ts";
import type { World } from "./world.ts";

/** A session as its client knows it. */
export interface KnownSession {
  readonly id: string;
  accessToken: string;
  refreshToken: string;
  generation: number;
}

const OPTIONS = { timeoutMs: CALL_MS };
const MOST_REFRESHES = 12;
const RACERS = 4;
/** Share of sessions that end because an old refresh token is shown. */
const REUSE_CHANCE = 0.4;
const MOST_RETRIES = 30;

/** Makes sessions of one person, one after the other. @returns the sessions that are left, at most one a person */
export async function livePerson(
  world: World,
  cast: Cast,
  email: string,
  sessions: KnownSession[],
  isOver: () => boolean,
): Promise<void> {
  await insist(
    cast,
    isOver,
    (at) => at.people.register({ email, password: PASSWORD }, OPTIONS),
    () => {},
  );
  while (!isOver()) {
    const session = await logIn(cast, email, isOver);
    if (session === undefined) return;
    sessions.push(session);
    const tokens: string[] = [];
    let isCertain = true;
    for (let n = 0; n < MOST_REFRESHES && !isOver(); n++) {
      await whoAmI(world, cast, session);
      tokens.push(session.refreshToken);
      isCertain = await refreshInARace(cast, session, isOver);
      // A refresh whose answer was lost may still be under way. If the client advanced twice meanwhile, that refresh
      // would count as the reuse of an old token, and would end the session.
      if (!isCertain) break;
      await pause(cast.random.between(50, 400));
    }
    await whoAmI(world, cast, session);
    // If a refresh may still be under way, an old token may be the newest one.
    if (isCertain && tokens.length >= 2 && cast.random.chance(REUSE_CHANCE)) {
      await reuse(cast, session, tokens[cast.random.whole(0, tokens.length - 2)]!, isOver);
    } else {
      await logOut(cast, session, isOver);
    }
    for (let n = 0; n < 4; n++) await whoAmI(world, cast, session);
  }
}

async function logIn(cast: Cast, email: string, isOver: () => boolean): Promise<KnownSession | undefined> {
  let session: KnownSession | undefined;
  await insist(
    cast,
    isOver,
    (at) => at.people.login({ email, password: PASSWORD }, OPTIONS),
    ({ answer, ...times }) => {
      if (answer !== undefined) session = sessionOf(answer.tokens!);
      cast.recorder.add({ call: "login", sessionId: session?.id ?? email, isFinal: false, ...times });
    },
  );
  return session;
}

/** Refreshes one token at several processes at once, until one answers. @returns whether all calls had an answer */
async function refreshInARace(cast: Cast, session: KnownSession, isOver: () => boolean): Promise<boolean> {
  const { random, clients, recorder } = cast;
  const { refreshToken, generation } = session;
  const show = async (at: Clients) => {
    const { answer, ...times } = await called(at.process, () => at.people.refresh({ refreshToken }, OPTIONS));
    const next = answer && sessionOf(answer.tokens!);
    recorder.add({
      call: "refresh",
      sessionId: session.id,
      generation,
      isFinal: false,
      ...times,
      ...(next && { nextGeneration: next.generation, nextDigest: digestOf(next.refreshToken) }),
    });
    return next;
  };
  const racers = random.chance(0.5) ? RACERS : 1;
  const answers = await Promise.all(Array.from({ length: racers }, () => show(random.pick(clients))));
  let isCertain = answers.every((answer) => answer !== undefined);
  let next = answers.find((answer) => answer !== undefined);
  for (let tries = 0; next === undefined && tries < MOST_RETRIES && !isOver(); tries++) {
    await pause(100);
    next = await show(random.pick(clients));
    isCertain = false;
  }
  if (next === undefined) return false;
  Object.assign(session, next);
  return isCertain;
}

/** Shows a token that is older than the newest two until a process judges it, and then the newest token. */
async function reuse(cast: Cast, session: KnownSession, old: string, isOver: () => boolean): Promise<void> {
  const { id: sessionId, refreshToken } = session;
  const show = async (call: "reuse" | "refresh", token: string) => {
    const at = cast.random.pick(cast.clients);
    const { answer, ...times } = await called(at.process, () => at.people.refresh({ refreshToken: token }, OPTIONS));
    const next = answer && sessionOf(answer.tokens!);
    const { generation } = generationOf(token);
    cast.recorder.add({
      ...{ call, sessionId, generation, isFinal: false, ...times },
      ...(next && { nextGeneration: next.generation, nextDigest: digestOf(next.refreshToken) }),
    });
    return answer !== undefined || (times.outcome.kind === "error" && times.outcome.code === "Unauthenticated");
  };
  for (let isJudged = false; !isJudged && !isOver(); ) {
    isJudged = await show("reuse", old);
    if (!isJudged) await pause(200);
  }
  await show("refresh", refreshToken);
}

async function logOut(cast: Cast, { id, refreshToken }: KnownSession, isOver: () => boolean): Promise<void> {
  await insist(
    cast,
    isOver,
    (at) => at.people.logout({ refreshToken }, OPTIONS),
    ({ answer: _, ...times }) => cast.recorder.add({ call: "logout", sessionId: id, isFinal: false, ...times }),
  );
}

export async function whoAmI(
  world: World,
  cast: Cast,
  session: KnownSession,
  at: Clients = cast.random.pick(cast.clients),
  isFinal = false,
): Promise<boolean | undefined> {
  const people = clientOf(world.nodes[at.process]!.address, AuthService, session.accessToken);
  const { answer: _, ...times } = await called(at.process, () => people.getCurrentUser({}, OPTIONS));
  cast.recorder.add({ call: "whoami", sessionId: session.id, isFinal, ...times });
  if (times.outcome.kind === "ok") return true;
  return times.outcome.code === "Unauthenticated" ? false : undefined;
}

/** Calls one process after the other until one answers. */
async function insist<T>(
  { clients, random }: Cast,
  isOver: () => boolean,
  call: (at: Clients) => Promise<T>,
  record: (call: Awaited<ReturnType<typeof called<T>>>) => void,
): Promise<void> {
  while (!isOver()) {
    const at = random.pick(clients);
    const done = await called(at.process, () => call(at));
    record(done);
    if (done.answer !== undefined) return;
    // An earlier call took effect, and only its answer was lost.
    if (done.outcome.kind === "error" && done.outcome.code === "AlreadyExists") return;
    await pause(200);
  }
}

/** `<prefix>_ref_<session>_<generation>_<mac>` */
function sessionOf({ accessToken, refreshToken }: TokenPair): KnownSession {
  return { ...generationOf(refreshToken), accessToken, refreshToken };
}

function generationOf(refreshToken: string): Pick<KnownSession, "id" | "generation"> {
  const [, , id, generation] = refreshToken.split("_");
  return { id: `ses_${id}`, generation: Number(generation) };
}

function digestOf(token: string): string {
  return createHash("sha256").update(token).digest("hex").slice(0, 12);
}

/** Exceeds a few small limits at all processes until `isOver`. */
export async function countAgainstLimits(cast: Cast, isOver: () => boolean): Promise<void> {
  const { random, clients, recorder } = cast;
  while (!isOver()) {
    const at = random.pick(clients);
    const name = `subject ${random.whole(1, 4)}`;
    const limits = [{ name: "calls", perMinute: SMALL_LIMIT }];
    const { answer, ...times } = await called(at.process, () =>
      at.verifier.checkRateLimit({ subject: { case: "name", value: name }, limits }, OPTIONS),
    );
    const decision = answer && { allowed: answer.allowed, degraded: answer.degraded };
    recorder.add({ call: "limit", name, limit: SMALL_LIMIT, ...times, ...decision });
    await pause(random.between(20, 120));
  }
}
