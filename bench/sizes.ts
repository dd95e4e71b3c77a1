/** The size of a run. */
export interface Size {
  readonly warmUpCalls: number;
  /** Rounds of the load under which CPU is measured. A round is short, so that its rows are of one moment. */
  readonly rounds: number;
  readonly leadSeconds: number;
  readonly seconds: number;
  /** Rounds of the load at a fixed rate. */
  readonly latencyRounds: number;
  readonly latencyLeadSeconds: number;
  readonly latencySeconds: number;
  /** Rounds of a service beside another client. */
  readonly besideRounds: number;
  readonly besideSeconds: number;
  /** Number of keys for the cold rows, all rounds together. */
  readonly unseenKeys: number;
  /** Rounds of each way to verify keys from a program; `leadSeconds` and `seconds` are those of the rows. */
  readonly clientRounds: number;
  readonly limiterRounds: number;
  readonly limiterCalls: number;
  /** Number of keys that a client keeps. */
  readonly keptKeys: number;
  /** The numbers of keys in memory; each has its own run. */
  readonly cachedKeys: readonly number[];
}

/** The size of a run that only checks that all rows run and that every answer is right. */
export const QUICK: Size = {
  warmUpCalls: 500,
  rounds: 1,
  leadSeconds: 0.1,
  seconds: 0.3,
  latencyRounds: 1,
  latencyLeadSeconds: 0.1,
  latencySeconds: 0.3,
  besideRounds: 1,
  besideSeconds: 0.3,
  unseenKeys: 60,
  clientRounds: 1,
  limiterRounds: 1,
  limiterCalls: 5_000,
  keptKeys: 10_000,
  cachedKeys: [1_000, 20_000],
};

export const USUAL: Size = {
  warmUpCalls: 5_000,
  rounds: 3,
  leadSeconds: 0.3,
  seconds: 0.5,
  latencyRounds: 3,
  latencyLeadSeconds: 0.3,
  latencySeconds: 0.7,
  besideRounds: 3,
  besideSeconds: 0.7,
  unseenKeys: 600,
  clientRounds: 5,
  limiterRounds: 5,
  limiterCalls: 15_000,
  keptKeys: 100_000,
  cachedKeys: [1_000, 100_000, 1_000_000],
};

/** The size of a run for figures that are kept. */
export const FULL: Size = {
  warmUpCalls: 10_000,
  rounds: 5,
  leadSeconds: 0.8,
  seconds: 1,
  latencyRounds: 7,
  latencyLeadSeconds: 1,
  latencySeconds: 1,
  besideRounds: 7,
  besideSeconds: 1,
  unseenKeys: 1_200,
  clientRounds: 9,
  limiterRounds: 9,
  limiterCalls: 20_000,
  keptKeys: 100_000,
  cachedKeys: [1_000, 100_000, 1_000_000],
};
