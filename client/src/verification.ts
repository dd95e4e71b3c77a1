import { createClient, type Transport } from "@connectrpc/connect";
import { Change_Kind as KindCode } from "../../src/gen/latchkey/v1/change_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import type { AgeClock, Timers } from "../../src/lib/clock.ts";
import { Counting } from "./counting/counting.ts";
import type { Credential } from "./credential.ts";
import { LatchkeyCredentialError, type LatchkeyUnavailable } from "./errors.ts";
import type { Events, LatchkeyChange } from "./events.ts";
import { GroupCommit } from "./group-commit.ts";
import { KeyVerdicts } from "./key-verdicts.ts";
import { KnownKeys } from "./known-keys.ts";
import { LastingVerdicts } from "./lasting-verdicts.ts";
import { NearCache } from "./near/near-cache.ts";
import type { AppliedMessage } from "./near/stream-attempt.ts";
import { WatchStream } from "./near/watch-stream.ts";
import type { CheckedOptions } from "./options.ts";
import { Outage } from "./outage.ts";
import type { Outcomes } from "./outcomes.ts";
import { type Answer, ServiceCalls } from "./service-calls.ts";

export interface VerificationDeps {
  readonly options: CheckedOptions;
  readonly transport: Transport;
  readonly credential: Credential;
  readonly events: Events;
  readonly outcomes: Outcomes;
  readonly clock: AgeClock;
  readonly timers: Timers;
  readonly random: () => number;
  /** The stream told that signing keys changed, or that changes may have been missed. */
  readonly onSigningKeys: () => void;
}

/** The parts that lead a key to its verdict, connected. */
export interface Verification {
  readonly calls: ServiceCalls;
  readonly cache: NearCache;
  readonly stream: WatchStream;
  readonly counting: Counting;
  readonly commit: GroupCommit<Answer>;
  readonly verdicts: KeyVerdicts;
  readonly lasting: LastingVerdicts;
  /** Ends the stream, the probes and the lasting verdicts, and the calls that were not sent yet. */
  close(error: LatchkeyUnavailable): void;
}

const KINDS: Readonly<Record<number, LatchkeyChange["kind"]>> = {
  [KindCode.KEY]: "KEY",
  [KindCode.OWNER]: "OWNER",
  [KindCode.SESSION]: "SESSION",
  [KindCode.SERVICE_CREDENTIAL]: "SERVICE_CREDENTIAL",
  [KindCode.SIGNING_KEY]: "SIGNING_KEY",
};
/** The options of the cache without near verification: it holds only the stream's knowledge for access tokens. */
const NO_KEYS = { maxKeys: 1, maxBytes: 65_536, maxStalenessMs: 5_000, staleOkMs: 0, counting: "exact" } as const;

export function connectVerification(deps: VerificationDeps): Verification {
  const { options, transport, credential, events, outcomes, clock, timers, random } = deps;
  const { deadlineMs, batch, near } = options;
  const { maxKeys, maxBytes, maxStalenessMs, staleOkMs, counting: mode } = near ?? NO_KEYS;
  const keys = createClient(KeyService, transport);
  const cache = new NearCache({ clock, random, maxKeys, maxBytes, maxStalenessMs });
  const outage = new Outage({ clock, timers, probe: () => calls.probe() });
  const calls: ServiceCalls = new ServiceCalls({ keys, near: cache, outage, deadlineMs });
  const counting = new Counting({ mode, isStaleAllowed: staleOkMs > 0, clock, timers, send: calls.report });
  const stream = new WatchStream({
    near: cache,
    credential,
    watch: (cursor, text, signal) =>
      keys.watchRevocations(
        { cursor },
        { signal, headers: text === undefined ? {} : { authorization: `Bearer ${text}` } },
      ),
    timers,
    random,
    onApplied: (applied) => {
      forget(counting, applied);
      const { mayChangeAll, changes } = applied;
      if (mayChangeAll || changes.some(({ kind }) => kind === KindCode.SIGNING_KEY)) deps.onSigningKeys();
      lasting.applied(applied);
      tell(events, applied);
    },
    onState: (state) => {
      if (state === "older service") cache.clear();
      outcomes.streamIs(state);
    },
    onError: (error) => {
      if (error instanceof LatchkeyCredentialError) outcomes.tellCredential(error);
    },
  });
  const commit = new GroupCommit<Answer>({ send: calls.verify, batch });
  const isOff = () => stream.state === "older service";
  const verdicts = new KeyVerdicts({
    commit,
    outage,
    clock,
    deadlineMs,
    knownKeys: new KnownKeys(),
    near: near && { cache, counting, staleOkMs, isOff },
  });
  const lasting = new LastingVerdicts({
    ...{ cache, clock, timers },
    judgeKey: (request) => verdicts.byCall(request),
    openStream: () => stream.start(),
  });
  if (near !== undefined) timers.nextTurn(() => stream.start());
  const close = (error: LatchkeyUnavailable) => {
    stream.close();
    outage.stop();
    commit.close(error);
    lasting.close(error);
  };
  return { calls, cache, stream, counting, commit, verdicts, lasting, close };
}

/** A key that changed may have had its limits reset. */
function forget(counting: Counting, { mayChangeAll, changes }: AppliedMessage): void {
  if (mayChangeAll) counting.forgetAll();
  for (const { kind, subjectId } of changes) if (kind === KindCode.KEY) counting.forget(subjectId);
}

function tell(events: Events, { resync, changes }: AppliedMessage): void {
  if (!events.has("change")) return;
  if (resync) events.emit("change", Object.freeze({ kind: "RESYNC", id: "", position: 0n }));
  for (const { kind, subjectId, position } of changes) {
    events.emit("change", Object.freeze({ kind: KINDS[kind] ?? "UNKNOWN", id: subjectId, position }));
  }
}
