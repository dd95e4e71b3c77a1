/** Rules about the text of migrations. They need no server, and see what rows can't show. */

interface StatementRule {
  readonly pattern: RegExp;
  /** The fault, and what to write instead. */
  readonly instead: string;
  /** The rule does not hold for a table that the same migration makes. */
  readonly isFreeForNewTables?: boolean;
}

/** Statements that hold a lock for as long as a table is large, or that can't be in a migration at all. */
const LOCKS: readonly StatementRule[] = [
  {
    pattern: /^create (unique )?index (?!concurrently)(?:if not exists )?\w+ on (?<table>\w+)/,
    instead: "keeps writers out during the build: extend ConcurrentIndex",
    isFreeForNewTables: true,
  },
  { pattern: /\bconcurrently\b/, instead: "is refused in a transaction: extend ConcurrentIndex" },
  {
    pattern: /^(lock|vacuum|cluster|truncate|reindex|refresh)\b/,
    instead: "holds a lock on a whole table: leave it out",
  },
  {
    pattern: /^alter table (?<table>\w+).* add (constraint \w+ )?(check|foreign key)(?!.* not valid)/,
    instead: "checks every row under a lock: add it as NOT VALID, and validate it in a later migration",
    isFreeForNewTables: true,
  },
  {
    pattern: /^alter table (?<table>\w+).* add column .*\b(references|check)\b/,
    instead: "checks every row under a lock: add the constraint by itself, as NOT VALID",
    isFreeForNewTables: true,
  },
  {
    pattern: /^alter table (?<table>\w+).* add (constraint \w+ )?(unique|primary key|exclude)(?! using index)/,
    instead: "builds an index under a lock: extend ConcurrentIndex, then add it USING INDEX",
    isFreeForNewTables: true,
  },
  {
    pattern: /^alter table.* add column .*\b(default [^,]*\(|generated |(big|small)?serial\b)/,
    instead: "rewrites the table: add the column without a computed value, and fill it in batches",
  },
  {
    pattern: /^(update|delete from) (?<table>\w+)/,
    instead: "locks its rows until the migration ends: change them in batches, in the background",
    isFreeForNewTables: true,
  },
];

/** Statements after which an older version no longer works. */
const CONTRACTIONS: readonly StatementRule[] = [
  { pattern: /^drop (table|view|function|type)\b/, instead: "removes what an older version may use" },
  { pattern: /^alter table.* drop (column|constraint)\b/, instead: "removes what an older version may use" },
  { pattern: /^alter (table|index|type).* rename\b/, instead: "renames what an older version may use" },
  {
    pattern: /^alter table.* alter (column )?\w+ (set data )?type\b/,
    instead: "changes what an older version reads",
  },
  { pattern: /^alter table.* alter (column )?\w+ (set not null|drop default)/, instead: "refuses older rows" },
  {
    pattern: /^alter table.* add column (?!.*\bdefault\b)[^,]* not null/,
    instead: "refuses rows of an older version",
  },
  {
    pattern: /^alter table.* add (constraint \w+ )?(check|unique|foreign key|exclude)/,
    instead: "may refuse older rows",
  },
];
const NEEDS = /-needs-\d{4}$/;

/** The faults in the statements of a migration; empty if there are none. */
export function faultsOf(name: string, statements: readonly string[]): string[] {
  const plain = statements.map((each) => each.toLowerCase().replace(/\s+/g, " ").trim());
  const made = plain.flatMap((each) => /^create (?:unlogged )?table (?:if not exists )?(\w+)/.exec(each)?.[1] ?? []);
  const breaks = ({ pattern, isFreeForNewTables }: StatementRule, statement: string) => {
    const found = pattern.exec(statement);
    return found !== null && !(isFreeForNewTables && made.includes(found.groups?.table ?? ""));
  };
  const rules = [
    ...LOCKS,
    ...(NEEDS.test(name) ? [] : CONTRACTIONS.map((rule) => ({ ...rule, isFreeForNewTables: true }))),
  ];
  return plain.flatMap((statement) =>
    rules.filter((rule) => breaks(rule, statement)).map(({ instead }) => `${statement.slice(0, 60)}: ${instead}`),
  );
}
