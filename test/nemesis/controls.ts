/**
 * Builds with a known fault, which a short run must report. They show that the nemesis can find faults. Each control
 * names the kinds of faults that reveal it, and each process of its run has the fault in its source.
 */
import { type SourceFault, withFault } from "../support/mutant-process.ts";
import { FAULTS } from "./nemesis.ts";
import { excerptOf } from "./report.ts";
import { runTrial } from "./trial.ts";

export interface Control {
  readonly name: string;
  readonly faults: readonly SourceFault[];
  /** The run draws only kinds of faults whose name begins with one of these. */
  readonly kinds: readonly string[];
  readonly seconds: number;
  /** The run must report a violation of one of these rules. */
  readonly rules: readonly string[];
  /** True if `npm run test:faults` also runs this control. */
  readonly isShort?: boolean;
}

const CACHE = "src/changes/record-cache.ts";
const CALM = ["redis forgets its scripts"];

export const CONTROLS: readonly Control[] = [
  {
    name: "the feed's changes are not applied",
    isShort: true,
    faults: [
      {
        file: "src/changes/change-feed.ts",
        search: "else bus.publish(poll.changes);",
        replacement: "else void 0;",
      },
    ],
    kinds: CALM,
    seconds: 10,
    rules: ["verdict"],
  },
  {
    name: "a process does not apply its own change after COMMIT",
    faults: [
      {
        file: "src/postgres/transactions/statements.ts",
        search: "if (changes.length > 0) options.onChanges?.(changes);",
        replacement: "",
      },
    ],
    kinds: ["feeds' backends", "polls locked out"],
    seconds: 20,
    rules: ["verdict"],
  },
  {
    name: "records are believed for a minute",
    faults: [
      {
        file: "src/changes/freshness.ts",
        search: "export const FRESH_MS = 5000;",
        replacement: "export const FRESH_MS = 60_000;",
      },
    ],
    kinds: CALM,
    seconds: 10,
    rules: ["verdict"],
  },
  {
    name: "a record is served however old it is",
    faults: [
      {
        file: CACHE,
        search: "return isFresh(this.#options.clock, this.#asOf(kept)) ? this.#serve(kept",
        replacement: "return isFresh(this.#options.clock, this.#asOf(kept)) || true ? this.#serve(kept",
      },
    ],
    kinds: ["postgres frozen", "postgres link hangs", "polls locked out"],
    seconds: 60,
    rules: ["verdict"],
  },
  {
    name: "a key that can't be read is taken for one that does not exist",
    faults: [
      {
        file: CACHE,
        search: "      if (kept === undefined) throw this.#missed(error);\n",
        replacement:
          '      if (kept === undefined) return this.#serveAsRead({ record: undefined, readAtMs: flight.readAtMs, position: 0n, changeCount: 0, subjectId: "" } as never, "database");\n',
      },
    ],
    kinds: ["postgres link hangs", "postgres restarted", "postgres link is cut"],
    seconds: 25,
    rules: ["verdict"],
  },
  {
    name: "a refresh token has as many successors as callers",
    isShort: true,
    faults: [
      {
        file: "src/postgres/stores/session-store.ts",
        // biome-ignore lint/suspicious/noTemplateCurlyInString: text of a source
        search: "generation = case when ${newest} then s.generation + 1 else s.generation end",
        replacement: "generation = s.generation + 1",
      },
    ],
    kinds: CALM,
    seconds: 10,
    rules: ["session", "successor", "session lost"],
  },
  {
    name: "ended sessions are not news",
    faults: [
      { file: "src/auth/session-cache.ts", search: 'kinds: ["SESSION"]', replacement: 'kinds: ["SIGNING_KEY"]' },
    ],
    kinds: CALM,
    seconds: 10,
    rules: ["session"],
  },
  {
    name: "each process counts for itself",
    isShort: true,
    faults: [
      {
        file: "src/redis/limit-store.ts",
        search: '"latchkey:limit:1:"',
        // biome-ignore lint/suspicious/noTemplateCurlyInString: text of a source
        replacement: "`latchkey:limit:1:${process.pid}:`",
      },
    ],
    kinds: CALM,
    seconds: 10,
    rules: ["limit"],
  },
  {
    name: "a near client does not drop what changed",
    faults: [
      {
        file: "client/src/near/near-cache.ts",
        search: "        this.#keys.deleteChanged(subjectId, position);\n",
        replacement: "",
      },
    ],
    kinds: CALM,
    seconds: 15,
    rules: ["near"],
  },
  {
    name: "an old refresh token ends nothing",
    faults: [
      {
        file: "src/postgres/stores/session-store.ts",
        // biome-ignore lint/suspicious/noTemplateCurlyInString: text of a source
        search: "const reused = `s.generation > p.generation and not ${replay}`;",
        replacement: 'const reused = "false";',
      },
    ],
    kinds: CALM,
    seconds: 25,
    rules: ["session"],
  },
  {
    name: "a watcher that comes back is not told of what it missed",
    faults: [
      {
        file: "src/changes/watch-changes.ts",
        search: "  else yield* split(step);\n}",
        replacement: "  else yield whole({ ...step, changes: [] });\n}",
      },
    ],
    kinds: ["process killed"],
    seconds: 25,
    rules: ["watcher"],
  },
];

/** @returns whether every control was reported */
export async function runControls(seed: number, print: (line: string) => void, only = ""): Promise<boolean> {
  let missed = 0;
  for (const control of CONTROLS.filter(({ name }) => name.includes(only))) {
    const found = await reportOf(control, seed);
    if (found === undefined) missed++;
    print(`${found === undefined ? "MISSED" : "found "} ${control.name}${found === undefined ? "" : `: ${found}`}`);
  }
  return missed === 0;
}

/** The first violation by which a run found the control; undefined if no run did. */
export async function reportOf({ faults, kinds, seconds, rules }: Control, seed: number): Promise<string | undefined> {
  const { history, violations } = await runTrial({
    seed,
    seconds,
    kinds: FAULTS.filter(({ name }) => kinds.some((kind) => name.startsWith(kind))),
    nodeFlags: faults.flatMap(withFault),
  });
  const found = violations.find(({ rule }) => rules.includes(rule));
  return found && excerptOf(history, found).trim().split("\n")[0];
}
