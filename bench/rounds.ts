/** The figures of one row, one for each round; undefined for a round that was disturbed. */
export type Rounds = readonly (number | undefined)[];

/** The value below which the given share of the values lies. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Half of the distance between the quartiles, as a share of the median. */
export function spread(values: readonly number[]): number {
  return (quantile(values, 0.75) - quantile(values, 0.25)) / 2 / median(values);
}

/** Quotients round by round, so that both figures are of the same moment. Skips rounds in which a figure is missing. */
export function quotients(above: Rounds, below: Rounds): readonly number[] {
  return above.flatMap((value, round) => {
    const divisor = below[round];
    return value === undefined || divisor === undefined ? [] : [value / divisor];
  });
}
