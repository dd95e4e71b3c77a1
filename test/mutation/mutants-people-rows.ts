import { mutantsOf } from "./tested-mutant.ts";

const USERS = ["test/contract/user-store.test.ts"];
const FAILURES = ["test/contract/login-failure-store.test.ts"];
const SIGNING = ["test/contract/signing-key-store.test.ts"];

/** Conditions and locks of the statements for people, guessing, signing keys and the feed. */
export const PEOPLE_ROWS_MUTANTS = [
  ...mutantsOf("src/postgres/stores/user-store.ts", USERS, [
    {
      name: "passwords changed whatever the version",
      search: " || row.passwordVersion !== input.expectedVersion",
      replacement: "",
      why: "of two changes at once both are made, and the first believes in his",
    },
    {
      name: "an old hash over a new password",
      search: "em.nativeUpdate(UserRow, { id, passwordVersion }, { passwordHash })",
      replacement: "em.nativeUpdate(UserRow, { id }, { passwordHash })",
      why: "the password before works again",
    },
    {
      name: "grants changed in silence",
      search: 'if (changed.some((field) => field !== "displayName")) await tx.changed("OWNER", row.id);',
      replacement: "",
      why: "keys keep the higher grant as long as the feed proves their copies fresh",
    },
    {
      name: "people disabled in silence",
      search: '  await tx.changed("OWNER", row.id);\n  const kind = state',
      replacement: "  const kind = state",
      why: "keys of a disabled owner work as long as the feed proves their copies fresh",
    },
  ]),
  ...mutantsOf(
    "src/postgres/rows/account-access.ts",
    [...USERS, "test/contract/reset-token-ends.test.ts"],
    [
      {
        name: "password versions that stay",
        search: "    row.passwordVersion++;\n",
        replacement: "",
        why: "a login that began before the change is in after it",
      },
      {
        name: "sessions outlive a change of the account",
        search: "const sessions = await endSessionsOf(tx, row.id, why);",
        replacement: "const sessions = why.length - why.length;",
        why: "a thief stays logged in after the change that was made against them",
      },
      {
        name: "reset tokens outlive a change of the account",
        search: "resetTokens: await endResetTokensOf(tx, row.id)",
        replacement: "resetTokens: 0",
        why: "a stolen token takes the account after the owner secured it",
      },
      {
        name: "reset tokens of others end too",
        search: "where r.user_id = p.user_id and r.used_at is null\n",
        replacement: "where (r.user_id = p.user_id or true) and r.used_at is null\n",
        why: "each change of one account ends everybody's reset tokens",
      },
      {
        name: "accounts change side by side",
        search: "{ id }, { lockMode: LockMode.PESSIMISTIC_WRITE }",
        replacement: "{ id }",
        why: "a reset that waits for a disabled account goes on after it",
      },
    ],
  ),
  ...mutantsOf("src/postgres/stores/login-failure-store.ts", FAILURES, [
    {
      name: "second hashes without a bound",
      search: "if (wait === undefined) await run(tx, countForOrigin(origin, iso(nowMs), of));\n      return wait;",
      replacement: "await run(tx, countForOrigin(origin, iso(nowMs), of));",
      why: "who changes his password again and again takes the hashes of all",
    },
    {
      name: "attempts side by side",
      search: "      await takeLocks(tx, locks);\n      // Read again",
      replacement: "      // Read again",
      why: "parallel guesses outrun the limits",
    },
  ]),
  ...mutantsOf("src/postgres/rows/login-failure-rows.ts", FAILURES, [
    {
      name: "one success forgives all failures since",
      search: "if (ofAccount === 0 || failures <= ofAccount) return;",
      replacement: "if (failures > 0) return;",
      why: "who logs in to an account of others' interest gives them their guesses back",
    },
    {
      name: "failures of owners forgotten",
      search: "update login_networks n set failures = n.failures + 1, failed_at",
      replacement: "update login_networks n set failures = n.failures + 0, failed_at",
      why: "a neighbour behind the owner's address guesses without an end",
    },
    {
      name: "owners of 30 days ago",
      search: "loggedInAtMs !== undefined && nowMs < loggedInAtMs + LOGIN_LIMITS.knownNetworkMs",
      replacement: "loggedInAtMs !== undefined",
      why: "a hotel of years ago is still the owner's address",
    },
    {
      name: "failures counted under one key of many",
      search: '[`array[${accounts.map(() => "decode(?, \'hex\')").join(", ")}] as accounts`, accounts.map(hex)]',
      replacement: "[`array[decode(?, 'hex')] as accounts`, accounts.slice(0, 1).map(hex)]",
      why: "a rotation of the master key gives everybody a hundred more guesses",
    },
  ]),
  ...mutantsOf("src/postgres/stores/signing-key-store.ts", SIGNING, [
    {
      name: "revoked signing keys listed",
      search: "where k.revoked_at is null and (k.retires_at",
      replacement: "where (k.retires_at",
      why: "tokens of a key that was taken out are good",
    },
    {
      name: "a first key for each process",
      search: "if ((await findSigning(tx, now)).length > 0) return false;",
      replacement: "",
      why: "processes that start together sign with keys that others do not know yet",
    },
    {
      name: "signing keys decided on side by side",
      search: '    await tx.em.execute("select pg_advisory_xact_lock(?::bigint)", [SIGNING_KEYS_LOCK]);\n',
      replacement: "",
      why: "two keys are next at once",
    },
    {
      name: "a next key for each who asks",
      search: "if (waiting !== null) return { key: toRecord(waiting), isNew: false };",
      replacement: "",
      why: "two operators make two rotations",
    },
    {
      name: "the old key retires for one that was taken out",
      search: "if (row.activatesAt > now) for (const other of others) other.retiresAt = null;",
      replacement: "if (row.activatesAt > now) await tx.em.flush();",
      why: "in some minutes nothing signs",
    },
  ]),
  ...mutantsOf(
    "src/postgres/rows/change-polls.ts",
    ["test/contract/change-store.test.ts"],
    [
      {
        name: "changes that commit late",
        search: "(select * from changes where xact_id = any (array(select pg_snapshot_xip(s.since))) limit ${most})",
        replacement: "(select * from changes where false)",
        why: "a revocation that was under way at a poll is never heard of",
      },
      {
        name: "a transaction that is under way taken for a gap",
        search: " and pg_visible_in_snapshot(x, s.now)",
        replacement: "",
        why: "one forgotten transaction empties every process's memory each second",
      },
      {
        name: "what was deleted of a transaction that has ended",
        search: "where x <= pruned and",
        replacement: "where false and",
        why: "a revocation that took more than a day to commit may be deleted before it is read",
      },
      {
        name: "all changes, however many",
        search: "const hasGap = (row.has_gap as boolean) || changes.length > MAX_CHANGES_PER_POLL;",
        replacement: "const hasGap = row.has_gap as boolean;",
        why: "the last of more changes than one poll brings are never heard of",
      },
    ],
  ),
];
