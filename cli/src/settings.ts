import { readFileSync } from "node:fs";
import { EXIT } from "./exit-codes.ts";
import { Fault, usage } from "./faults.ts";
import type { SessionPlace } from "./person-session.ts";
import { type Profile, profilesPath, readProfiles } from "./profiles.ts";
import type { Io } from "./terminal.ts";

/** The flags that every verb takes, as they were given. */
export interface GlobalFlags {
  readonly address?: string | undefined;
  readonly credentialFile?: string | undefined;
  readonly profile?: string | undefined;
  readonly timeoutMs?: number | undefined;
  readonly format: "people" | "json" | "jsonl" | "quiet";
  readonly yes: boolean;
}

/** Where the service is, and who asks. */
export interface Settings {
  /** A URL. */
  readonly address: string;
  readonly addressFrom: string;
  /** The profile's name, whether it exists or not. */
  readonly profile: string;
  /** The credential itself, or the place of the session that gives it. */
  readonly credential: { readonly from: string; readonly source: string | SessionPlace } | undefined;
}

/** As `addressFrom` says it. */
export const ADDRESS_FLAG = "--address";
export const DEFAULT_ADDRESS = "http://127.0.0.1:8080";
const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/i;
const CREDENTIAL = /^[\x21-\x7e]{1,4096}$/;
const MOST_FILE_BYTES = 8192;

/**
 * Settings from flags, else from LATCHKEY_ADDRESS, LATCHKEY_CREDENTIAL and LATCHKEY_CREDENTIAL_FILE, else from the
 * profile. A profile's credential goes only to the profile's own address: `--address` can't send it elsewhere.
 *
 * @throws Fault
 */
export function resolveSettings(flags: GlobalFlags, io: Io): Settings {
  const { env } = io;
  const { current, profiles } = readProfiles(profilesPath(env));
  const name = flags.profile ?? current;
  const profile = Object.hasOwn(profiles, name) ? profiles[name] : undefined;
  if (flags.profile !== undefined && profile === undefined) {
    throw usage("--profile names no profile; to make one, run: latchkey config set address URL --profile NAME");
  }
  const [address, addressFrom] = firstOf<string>(
    [flags.address, ADDRESS_FLAG],
    [env.LATCHKEY_ADDRESS, "LATCHKEY_ADDRESS"],
    [profile?.address, `the profile "${name}"`],
    [DEFAULT_ADDRESS, "the default"],
  )!;
  const url = readAddress(address, addressFrom);
  const own = url === readAddress(profile?.address ?? DEFAULT_ADDRESS, `the profile "${name}"`) ? profile : undefined;
  return { address: url, addressFrom, profile: name, credential: credentialOf(flags, env, name, own) };
}

/**
 * The URL of an address. `host:port` is taken too: http for this machine, https for others.
 *
 * @throws Fault that names where the address came from, not the address
 */
export function readAddress(text: string, from: string): string {
  const trimmed = text.trim().replace(/\/+$/, "");
  const full = /^https?:\/\//i.test(trimmed) ? trimmed : `${LOOPBACK.test(trimmed) ? "http" : "https"}://${trimmed}`;
  const url = URL.canParse(full) ? new URL(full) : undefined;
  const isPlain =
    url !== undefined && url.username === "" && url.password === "" && url.search === "" && url.hash === "";
  if (!isPlain || url.hostname === "") {
    throw usage(`the address of ${from} must be a URL such as http://127.0.0.1:8080, without user, query or fragment`);
  }
  return url.href.replace(/\/+$/, "");
}

/** A credential as it may be sent. @throws Fault that names where it came from, not the text */
export function readCredential(text: string, from: string): string {
  const credential = text.trim();
  if (CREDENTIAL.test(credential)) return credential;
  throw usage(`${from} has no credential: it must be one line such as kit_svc_..., without "Bearer "`);
}

function credentialOf(
  flags: GlobalFlags,
  env: Io["env"],
  name: string,
  profile: Profile | undefined,
): Settings["credential"] {
  const [read, from] =
    firstOf<() => string>(
      [flags.credentialFile && (() => fileText(flags.credentialFile!, "--credential-file")), "--credential-file"],
      [env.LATCHKEY_CREDENTIAL && (() => env.LATCHKEY_CREDENTIAL!), "LATCHKEY_CREDENTIAL"],
      [
        env.LATCHKEY_CREDENTIAL_FILE && (() => fileText(env.LATCHKEY_CREDENTIAL_FILE!, "LATCHKEY_CREDENTIAL_FILE")),
        "LATCHKEY_CREDENTIAL_FILE",
      ],
      [profile?.credential && (() => profile.credential!), `the profile "${name}"`],
      [
        profile?.credentialFile && (() => fileText(profile.credentialFile!, `the profile "${name}"`)),
        `the file of the profile "${name}"`,
      ],
    ) ?? [];
  if (read !== undefined) return { source: readCredential(read(), from!), from: from! };
  if (profile?.refreshToken === undefined) return undefined;
  return { from: `the session of the profile "${name}"`, source: { path: profilesPath(env)!, profile: name } };
}

function fileText(path: string, from: string): string {
  try {
    const bytes = readFileSync(path);
    if (bytes.length <= MOST_FILE_BYTES) return bytes.toString("utf8");
  } catch (error) {
    throw new Fault(EXIT.DENIED, `the file of ${from} can't be read (${(error as NodeJS.ErrnoException).code})`);
  }
  throw usage(`the file of ${from} has no credential: it is larger than ${MOST_FILE_BYTES} bytes`);
}

/** An empty text counts as not given, as for environment variables in scripts. */
function firstOf<T>(
  ...candidates: readonly (readonly [T | "" | undefined, string])[]
): readonly [T, string] | undefined {
  return candidates.find(([value]) => value !== undefined && value !== "") as readonly [T, string] | undefined;
}
