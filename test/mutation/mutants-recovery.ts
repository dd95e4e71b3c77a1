import { mutantsOf } from "./tested-mutant.ts";

const KEYS = ["test/contract/reset-keys.test.ts"];

/** Faults in the effect of a password reset on the API keys of an account. */
export const RECOVERY_MUTANTS = [
  ...mutantsOf(
    "src/auth/key-revocation.ts",
    ["test/auth/key-revocation.test.ts"],
    [
      {
        name: "persons keep what an operator revokes",
        search: 'if (operator === true) return { revokes: true, decider: "operator" };',
        replacement: 'if (operator === true && person !== false) return { revokes: true, decider: "operator" };',
        why: "the former holder's keys stay in an account that was handed over",
      },
      {
        name: "operators forbid persons to revoke",
        search: 'if (person === true) return { revokes: true, decider: "person" };',
        replacement: 'if (person === true && operator === undefined) return { revokes: true, decider: "person" };',
        why: "a person can't end a stranger's keys in their own account",
      },
      {
        name: "keys kept where no one decided",
        search: "revokes: account.hadPassword && !account.hasKnownLogin",
        replacement: "revokes: false",
        why: "a squatter's keys stay where the operator forgot to say so",
      },
      {
        name: "keys of those who forgot their password",
        search: "account.hadPassword && !account.hasKnownLogin",
        replacement: "account.hadPassword",
        why: "a forgotten password stops the programs of its owner",
      },
      {
        name: "keys issued before the first password",
        search: "account.hadPassword && !account.hasKnownLogin",
        replacement: "!account.hasKnownLogin",
        why: "the first password of a new account revokes what a service issued for it",
      },
    ],
  ),
  ...mutantsOf("src/postgres/stores/password-reset-store.ts", KEYS, [
    {
      name: "a squatter makes the account a known one",
      search: "historyOf(tx, row, reset.createdAt)",
      replacement: "historyOf(tx, row, tx.now)",
      why: "a login after the token was made keeps the squatter's keys",
    },
    {
      name: "the operator's decision is lost",
      search: "decideRevocation(reset.revokeKeys ?? undefined, input.revokeKeys, history)",
      replacement: "decideRevocation(undefined, input.revokeKeys, history)",
      why: "keys stay that an operator wanted to revoke",
    },
    {
      name: "the old password still opens the account",
      search: "row.passwordVersion === 0 ? {} : { passwordHash: null }",
      replacement: "{}",
      why: "the former holder logs in and uses the token up",
    },
    {
      name: "an account that nobody held is taken for one that was",
      search: "row.passwordVersion === 0 ? {} : { passwordHash: null }",
      replacement: "{ passwordHash: null }",
      why: "keys that a service issued for a new account are revoked",
    },
  ]),
  ...mutantsOf("src/postgres/rows/owner-key-rows.ts", KEYS, [
    {
      name: "keys revoked in silence",
      search: 'if (revoked > 0) await tx.changed("OWNER", ownerId);',
      replacement: "",
      why: "other processes accept revoked keys as long as the feed proves their copies fresh",
    },
    {
      name: "keys revoked without an event",
      search: '    await tx.recordEach({ ...entry, kind: "key.revoked" }, part);\n',
      replacement: "",
      why: "no one can tell what ended a key",
    },
    {
      name: "only as many keys as one statement revokes",
      search: "at < ids.length; at += KEYS_PER_STATEMENT",
      replacement: "at < Math.min(ids.length, KEYS_PER_STATEMENT); at += KEYS_PER_STATEMENT",
      why: "who issues enough keys keeps some",
    },
    {
      name: "revoked keys keep their version",
      search: ", version = version + 1\n",
      replacement: "\n",
      why: "an update that read the key before makes it active again",
    },
  ]),
  ...mutantsOf("src/postgres/rows/session-rows.ts", KEYS, [
    {
      name: "every login is from a known network",
      search: "if (!before.some((session) => networkOf(session.client_ip as string) === network)) return;",
      replacement: "if (before.length === 0) return;",
      why: "a squatter who registered elsewhere keeps the keys",
    },
    {
      name: "networks are known for ever",
      search: "and id <> ? and created_at > ?::timestamptz",
      replacement: "and id <> ? and (created_at > ?::timestamptz or true)",
      why: "the rule is not what the contract says",
    },
    {
      name: "sessions end beside what they make",
      search: "and ended_at is null for share",
      replacement: "and ended_at is null",
      why: "a rotation that is under way outlives the change that ended its session",
    },
  ]),
  ...mutantsOf("src/postgres/stores/key-store.ts", KEYS, [
    {
      name: "ended sessions issue keys",
      search: "      if (refused !== undefined) return { kind: refused };\n      await refuseEnded(tx, entry);\n",
      replacement: "      if (refused !== undefined) return { kind: refused };\n",
      why: "a thief issues a key through a process that has not heard of the end of the session",
    },
    {
      name: "ended sessions change keys",
      search: "  await refuseEnded(tx, entry);\n  const row = await lockKey(tx, keyId);\n",
      replacement: "  const row = await lockKey(tx, keyId);\n",
      why: "a thief widens a key after their session was ended",
    },
    {
      name: "ended sessions rotate keys",
      search: "      await refuseEnded(tx, entry);\n      const row = await lockKey(tx, rotation.keyId);\n",
      replacement: "      const row = await lockKey(tx, rotation.keyId);\n",
      why: "a thief gets a new secret after their session was ended",
    },
  ]),
];
