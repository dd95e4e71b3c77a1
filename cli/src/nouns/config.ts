import type { JsonObject } from "@bufbuild/protobuf";
import { EXIT } from "../exit-codes.ts";
import { Fault, usage } from "../faults.ts";
import type { Invocation } from "../invocation.ts";
import { withoutSession } from "../person-session.ts";
import { changeProfiles, PROFILE_NAME, type Profile, type Profiles, profilesPath, readProfiles } from "../profiles.ts";
import type { Answer } from "../result.ts";
import { readAddress, readCredential } from "../settings.ts";
import { type Noun, verb } from "../verb.ts";

/** The settings of a profile, as they are called on the command line. */
const SETTINGS = ["address", "credential", "credential-file"] as const;
type Setting = (typeof SETTINGS)[number];
const SETTING = { name: "SETTING", about: SETTINGS.join(", "), choices: SETTINGS };
const FIELD = { address: "address", credential: "credential", "credential-file": "credentialFile" } as const;

const list = verb({
  name: "list",
  about: "List the profiles; the one in use has a star",
  more: "Credentials are never shown.",
  examples: ["config list"],
  flags: {},
  async run({ io }) {
    const { current, profiles } = readProfiles(profilesPath(io.env));
    const names = Object.keys(profiles).sort();
    const json = { current, profiles: Object.fromEntries(names.map((name) => [name, publicOf(profiles[name]!)])) };
    const rows = names.map((name) => {
      const { address = "", credential, credentialFile, session } = publicOf(profiles[name]!);
      const person = session === undefined ? "" : `session of ${session}`;
      return [name === current ? "*" : "", name, address, credential ?? credentialFile ?? person];
    });
    const head = [
      { name: "", role: "id" },
      { name: "PROFILE", role: "id" },
      { name: "ADDRESS", role: "text" },
      { name: "CREDENTIAL", role: "text" },
    ] as const;
    const title = names.length === 0 ? { title: "there are no profiles; run: latchkey config set address URL" } : {};
    const tables = names.length === 0 ? [] : [{ head, rows }];
    return { kind: "answer", json, quiet: names.join("\n") || undefined, ...title, tables };
  },
});

const get = verb({
  name: "get",
  about: "Show a setting of the profile; of a credential, whether there is one",
  examples: ["config get address", "config get credential --profile production"],
  args: [SETTING],
  flags: {},
  async run(invocation, { args: [text] }) {
    const setting = settingOf(text!);
    const { name, profile } = profileOf(invocation);
    const value = publicOf(profile)[FIELD[setting]];
    if (value === undefined) throw new Fault(EXIT.NOT_FOUND, `the profile "${name}" has no ${setting}`);
    return { kind: "answer", json: { [FIELD[setting]]: value }, quiet: value, title: value };
  },
});

const set = verb({
  name: "set",
  about: "Change a setting of the profile, and make the profile if there is none",
  more: "A credential is read from standard input, or asked for without echo. An empty value removes a setting.",
  examples: [
    "config set address https://auth.example.com --profile production",
    "config set credential --profile production < credential.txt",
  ],
  args: [SETTING, { name: "VALUE", about: "the new value; none for a credential", isOptional: true }],
  flags: {},
  async run(invocation, { args: [text, value] }) {
    const setting = settingOf(text!);
    const path = profilesPath(invocation.io.env);
    if ((value === undefined) !== (setting === "credential")) {
      throw usage(setting === "credential" ? "a credential is read from standard input" : "it needs VALUE");
    }
    const stored = setting === "credential" ? await credentialOf(invocation) : checked(setting, value!);
    const name = nameOf(invocation, readProfiles(path));
    await changeProfiles(path, (all) => {
      const profile = changed(ofName(all, name), setting, stored);
      return { ...all, profiles: { ...all.profiles, [name]: profile } };
    });
    return done(name, `${stored === "" ? "removed" : "set"} ${setting} of the profile "${name}"`);
  },
});

const use = verb({
  name: "use",
  about: "Choose the profile that is used where none is named",
  examples: ["config use production"],
  args: [{ name: "PROFILE", about: "a profile's name" }],
  flags: {},
  async run({ io }, { args: [name] }) {
    const path = profilesPath(io.env);
    await changeProfiles(path, (all) => {
      if (Object.hasOwn(all.profiles, name!)) return { ...all, current: name! };
      throw new Fault(EXIT.NOT_FOUND, "there is no such profile; run: latchkey config list");
    });
    return done(name!, `the profile "${name}" is in use`);
  },
});

/** Profiles. */
export const config: Noun = {
  name: "config",
  about: "Profiles: addresses and credentials under names",
  verbs: [list, get, set, use],
};

function done(name: string, title: string): Answer {
  return { kind: "answer", json: { profile: name }, quiet: name, title };
}

function settingOf(text: string): Setting {
  const setting = SETTINGS.find((one) => one === text);
  if (setting === undefined) throw usage(`SETTING must be one of ${SETTINGS.join(", ")}`);
  return setting;
}

function profileOf(invocation: Invocation): { name: string; profile: Profile } {
  const all = readProfiles(profilesPath(invocation.io.env));
  const name = nameOf(invocation, all);
  return { name, profile: ofName(all, name) };
}

function nameOf({ flags }: Invocation, { current }: Profiles): string {
  const name = flags.profile ?? current;
  if (!PROFILE_NAME.test(name)) throw usage("a profile's name must be 1 to 64 of a-z, 0-9, ., _ and -");
  return name;
}

function ofName({ profiles }: Profiles, name: string): Profile {
  return Object.hasOwn(profiles, name) ? profiles[name]! : {};
}

async function credentialOf(invocation: Invocation): Promise<string> {
  return readCredential(await invocation.secret("credential"), "standard input");
}

function checked(setting: Setting, value: string): string {
  return value === "" || setting !== "address" ? value : readAddress(value, "VALUE");
}

function changed(profile: Profile, setting: Setting, value: string): Profile {
  if (setting !== "address" && value !== "" && profile.refreshToken !== undefined) {
    throw usage("the profile has the session of a person; run: latchkey logout");
  }
  // A session belongs to the service that began it.
  const kept = setting === "address" && value !== profile.address ? withoutSession(profile) : profile;
  const { [FIELD[setting]]: _, ...rest } = kept;
  return value === "" ? rest : { ...rest, [FIELD[setting]]: value };
}

/** A profile without its secrets. */
function publicOf(profile: Profile): JsonObject & Record<string, string | undefined> {
  const { address, credential, credentialFile, email, refreshToken } = profile;
  return {
    ...(address !== undefined && { address }),
    ...(credential !== undefined && { credential: "stored" }),
    ...(credentialFile !== undefined && { credentialFile }),
    ...(refreshToken !== undefined && { session: email ?? "stored" }),
  } as JsonObject & Record<string, string | undefined>;
}
