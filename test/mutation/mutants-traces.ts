import { mutantsOf } from "./tested-mutant.ts";

const RECORDER = ["test/audit/refusal-recorder.test.ts"];
const TRAIL = ["test/rpc/audit.test.ts", "test/rpc/audit-refusals.servers.test.ts"];

/** Faults in the record of refused attempts, and in the bound on a caller's changes. */
export const TRACES_MUTANTS = [
  ...mutantsOf(
    "src/audit/refusal-rooms.ts",
    ["test/audit/refusal-rooms.test.ts"],
    [
      {
        name: "one level for all",
        search: "at <= level && taken",
        replacement: "at <= 0 && taken",
        why: "accounts that are refused once crowd out one that is guessed at 85 times",
      },
      {
        name: "no bound of events",
        search: "taken < this.#placesPerLevel",
        replacement: "taken < 1e9",
        why: "attackers choose how fast the trail grows",
      },
      {
        name: "an event lost with each place",
        search: "if (subject.isOwn) return",
        replacement: "if (subject.isOwn && subject.refusals < 3) return",
        why: "a subject takes place after place, and later its attempts are nowhere",
      },
      {
        name: "hours that never end",
        search: "if (hour === this.#hour) return;",
        replacement: "if (this.#hour >= 0) return;",
        why: "after the first hours of an attack nothing new has an event",
      },
    ],
  ),
  ...mutantsOf("src/audit/refusal-recorder.ts", RECORDER, [
    {
      name: "one room for all subjects",
      search: "const key = `${kind} ${name}`;",
      replacement: "const key = `${kind}`;",
      why: "made-up accounts crowd out those that exist",
    },
    {
      name: "a stale entry written",
      search: "const entry = waiting.get(key)!;",
      replacement: "const entry = { ...waiting.get(key)!, details: { count: '1' } };",
      why: "the counts are wrong",
    },
    {
      name: "what could not be written is forgotten",
      search: "        addBefore(waiting, entry);\n",
      replacement: "",
      why: "an attack while the database is unreachable leaves no trace",
    },
    {
      name: "all that waits written at once",
      search: "this.#isStopping ? MAX_WAITING : WRITES_PER_SECOND[room]",
      replacement: "MAX_WAITING",
      why: "attackers choose how much is written in a second",
    },
  ]),
  ...mutantsOf(
    "src/audit/counted-event.ts",
    ["test/audit/counted-event.test.ts"],
    [
      {
        name: "boundless names",
        search: "named.length < MAX_NAMES",
        replacement: "named.length < 1e9",
        why: "one event grows with the networks of a botnet",
      },
    ],
  ),
  ...mutantsOf("src/auth/throttle/login-traces.ts", TRAIL, [
    {
      name: "no account is known",
      search: 'const room = userId === "" ? "unknown" : "known";',
      replacement: 'const room = "unknown";',
      why: "made-up accounts crowd out those that exist",
    },
    {
      name: "the trail names no account",
      search: "subjectId: userId, clientIp, ...more",
      replacement: 'subjectId: "", clientIp, ...more',
      why: "an operator can't find who was attacked",
    },
  ]),
  ...mutantsOf("src/rpc/calls/refused-calls.ts", TRAIL, [
    {
      name: "another's key is no refusal",
      search: 'outcome.code === "PERMISSION_DENIED" || outcome.untold?.isAnothers === true',
      replacement: 'outcome.code === "PERMISSION_DENIED"',
      why: "a user who tries others' keys leaves no trace",
    },
    {
      name: "spent credentials leave no trace",
      search: "spentCredential(outcome) ?? deniedCall(call, outcome)",
      replacement: "deniedCall(call, outcome)",
      why: "a stolen token that was ended is used in silence",
    },
  ]),
  ...mutantsOf("src/rpc/calls/call-log.ts", TRAIL, [
    {
      name: "no address",
      search: 'code !== "OK" && (caller.kind === "anonymous" ||',
      replacement: 'code !== "OK" && (caller.kind !== "anonymous" &&',
      why: "the log does not say where an attack comes from",
    },
  ]),
  ...mutantsOf("src/keys/authority.ts", TRAIL, [
    {
      name: "uncut values",
      search: "text.length <= MAX_TEXT",
      replacement: "text.length <= 1e9",
      why: "one update writes 16 KB to the trail",
    },
  ]),
  ...mutantsOf(
    "src/rpc/calls/change-rate.ts",
    ["test/rpc/change-rate.test.ts"],
    [
      {
        name: "a session takes all of its user's changes",
        search: 'name: "", perMinute: 2 * changesPerMinute',
        replacement: 'name: "", perMinute: changesPerMinute',
        why: "a thief's token keeps the owner from changing the password",
      },
      {
        name: "a rate of all users together",
        search: "`changes:${callerId}`",
        replacement: "`changes:`",
        why: "one user's changes refuse another's",
      },
      {
        name: "no rate of one session",
        search: "name: caller.sessionId, perMinute: changesPerMinute",
        replacement: "name: caller.sessionId, perMinute: 2 * changesPerMinute",
        why: "a thief's token keeps the owner from changing the password",
      },
    ],
  ),
  ...mutantsOf(
    "src/auth/refresh.ts",
    ["test/rpc/change-rate.test.ts"],
    [
      {
        name: "boundless refreshes",
        search: "  await checkRate(deps, token.sessionId);\n",
        replacement: "",
        why: "one session writes as fast as it can",
      },
    ],
  ),
  ...mutantsOf(
    "src/rpc/effects.ts",
    ["test/rpc/change-rate.test.ts"],
    [
      {
        name: "changes of the profile are not counted",
        search: 'updateCurrentUser: "changes"',
        replacement: 'updateCurrentUser: "reads"',
        why: "one user fills the disk with audit events",
      },
    ],
  ),
];
