import { markdown, short } from "../table.ts";
import type { ColdKeys } from "./cold-keys.ts";
import type { LoadStep } from "./data-set.ts";
import type { Listing } from "./listings.ts";
import { inThousands } from "./progress.ts";
import type { Pruning } from "./pruning.ts";
import type { MigrationTime } from "./schema.ts";
import type { TableStorage } from "./storage.ts";

/** The result of a run. */
export interface GrowthReport {
  readonly size: string;
  readonly machine: string;
  /** None if the data set was there already. */
  readonly load: readonly LoadStep[];
  /** Of all migrations on an empty database. */
  readonly scratchSeconds: number;
  readonly newest: readonly MigrationTime[];
  readonly storage: readonly TableStorage[];
  readonly start: { readonly emptySeconds: number; readonly grownSeconds: number };
  readonly listings: readonly Listing[];
  readonly cold: readonly ColdKeys[];
  readonly masterKeysSeconds: number;
  readonly pruning: Pruning;
}

/** The report as Markdown. */
export function formatGrowth(report: GrowthReport): string {
  const { size, machine, start, scratchSeconds, newest, masterKeysSeconds } = report;
  const tables = [
    markdown(
      ["once", "seconds"],
      [
        ["start of the service, empty database", short(start.emptySeconds)],
        ["start of the service, this data set", short(start.grownSeconds)],
        ["all migrations, empty database", short(scratchSeconds)],
        ...newest.map(({ name, seconds }) => [`${name}, this data set`, short(seconds)]),
        ["`master-keys`", short(masterKeysSeconds)],
        ...report.load.map(({ what, seconds }) => [`load: ${what}`, short(seconds)]),
      ],
    ),
    markdown(
      ["table", "rows", "bytes a row", "of indexes", "GiB"],
      report.storage.map(({ table, rows, tableBytes, indexBytes, totalGiB }) => [
        table,
        inThousands(rows),
        short(tableBytes),
        short(indexBytes),
        totalGiB.toFixed(2),
      ]),
    ),
    markdown(
      ["page of 50", "first p50 ms", "p99", "PostgreSQL µs", "deep p50 ms", "p99", "PostgreSQL µs"],
      report.listings.map(({ name, first, firstUs, deep, deepUs }) => [
        name,
        short(first.p50Ms),
        short(first.p99Ms),
        short(firstUs),
        short(deep?.p50Ms),
        short(deep?.p99Ms),
        short(deepUs),
      ]),
    ),
    markdown(
      ["cold keys", "calls/s", "p50 ms", "p99 ms", "PostgreSQL µs"],
      report.cold.map(({ name, times, postgresUs }) => [
        name,
        inThousands(times.perSecond),
        short(times.p50Ms),
        short(times.p99Ms),
        short(postgresUs),
      ]),
    ),
    ...pruningTables(report.pruning),
  ];
  return `${size}; ${machine}\n\n${tables.join("\n\n")}\n`;
}

function pruningTables({ tables, beside }: Pruning): readonly string[] {
  return [
    markdown(
      ["pruning", "rows", "rows/s", "deletion p50 ms", "max ms"],
      tables.map(({ what, rows, rowsPerSecond, p50Ms, maxMs }) => [
        what,
        inThousands(rows),
        inThousands(rowsPerSecond),
        short(p50Ms),
        short(maxMs),
      ]),
    ),
    markdown(
      ["beside pruning", "p50 without", "p50 beside", "p99 without", "p99 beside", "p99 x"],
      beside.map(([name, before, during, after]) => {
        const without = (before.p99Ms + after.p99Ms) / 2;
        return [
          name,
          short((before.p50Ms + after.p50Ms) / 2),
          short(during.p50Ms),
          short(without),
          short(during.p99Ms),
          (during.p99Ms / without).toFixed(2),
        ];
      }),
    ),
  ];
}
