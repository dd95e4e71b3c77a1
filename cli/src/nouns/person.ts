/** A person's own session: `login`, `logout` and `whoami`. */
import { GetCurrentUserResponseSchema, type TokenPair, type User, UserSchema } from "@latchkey/client/contract";
import { EXIT } from "../exit-codes.ts";
import { Fault, usage } from "../faults.ts";
import { text, yes } from "../flags.ts";
import type { Invocation } from "../invocation.ts";
import { withoutSession, withSession } from "../person-session.ts";
import { changeProfiles, type Profile, profilesPath, readProfiles } from "../profiles.ts";
import { asked } from "../prompts.ts";
import { jsonOf } from "../result.ts";
import { DEFAULT_ADDRESS, readAddress } from "../settings.ts";
import { isoOf, moment } from "../times.ts";
import { userFields } from "../user-view.ts";
import { verb } from "../verb.ts";

export const login = verb({
  name: "login",
  about: "Log in as a person",
  more:
    "The password is asked for without echo, or read from standard input. With --reset, the one-time token of an " +
    "operator sets a new password; standard input has the token and the password on a line each. The session is kept " +
    "in the profile, and ends after 7 days without a call, and after 30 at the latest. An earlier session of the " +
    "profile ends now. --json shows no token.",
  examples: ["login --email ann@example.com", "login --reset", "login --email ann@example.com < password.txt"],
  flags: {
    email: text("ADDRESS", "your e-mail address; it is asked for if it is not given"),
    reset: yes("set a new password by a one-time token, which ends all sessions"),
  },
  async run(invocation, { flags: { email, reset } }) {
    const { settings, connection, call, nowMs } = invocation;
    const { path, profile } = placeOf(invocation);
    if (profile.credential !== undefined || profile.credentialFile !== undefined) {
      throw usage(`the profile "${settings.profile}" has a service credential; choose another by --profile`);
    }
    if (reset && email !== undefined) throw usage("--reset and --email exclude each other");
    const { user, tokens } = reset ? await byToken(invocation) : await byPassword(invocation, email, profile);
    const earlier = profile.refreshToken ?? "";
    const more = { address: settings.address, email: user!.email };
    await changeProfiles(path, async (all) => withSession(all, settings.profile, tokens!, more));
    // The new session is there already, so a failure to end the earlier one is none of the login.
    if (earlier !== "") await connection.anonymous.logout({ refreshToken: earlier }, call).catch(() => {});
    const { credential } = settings;
    const isOwn = credential === undefined || typeof credential.source !== "string";
    return {
      kind: "answer",
      json: {
        user: jsonOf(UserSchema, user!),
        profile: settings.profile,
        sessionExpireTime: isoOf(tokens!.refreshTokenExpireTime),
      },
      quiet: user!.id,
      title: { text: `logged in as ${user!.email}`, style: "good" },
      fields: [
        ["at", settings.address],
        ["profile", settings.profile],
        ["session ends", `${moment(nowMs, tokens!.refreshTokenExpireTime)}, or later if it is used`],
        ["note", isOwn ? "" : { text: `${credential.from} is used instead of the session`, style: "paused" }],
      ],
    };
  },
});

interface Begun {
  readonly user?: User;
  readonly tokens?: TokenPair;
}

async function byPassword(invocation: Invocation, given: string | undefined, profile: Profile): Promise<Begun> {
  const { io, connection, call, progress } = invocation;
  progress.pause();
  const email = given ?? (await asked(io, "e-mail address", profile.email, "--email"));
  const password = await invocation.secret("password");
  // The earlier token lets the owner try even if others have used up the account's attempts.
  return connection.anonymous.login({ email, password, refreshToken: profile.refreshToken ?? "" }, call);
}

async function byToken(invocation: Invocation): Promise<Begun> {
  const { io, connection, call } = invocation;
  const again = io.stdin.isTTY === true ? ["new password again"] : [];
  const secrets = await invocation.secrets(["one-time token", "new password", ...again]);
  const [resetToken = "", newPassword = "", repeated = newPassword] = secrets;
  if (repeated !== newPassword) throw usage("the two passwords differ; nothing was done");
  const { tokens } = await connection.anonymous.completePasswordReset({ resetToken, newPassword }, call);
  const headers = { authorization: `Bearer ${tokens!.accessToken}` };
  const { user } = await connection.anonymous.getCurrentUser({}, { ...call, headers });
  return { user: user!, tokens: tokens! };
}

export const logout = verb({
  name: "logout",
  about: "End the session of the profile",
  more: "It ends at the service and here.",
  examples: ["logout", "logout --profile staging"],
  flags: {},
  async run(invocation) {
    const { settings, connection, call } = invocation;
    const { path, profile } = placeOf(invocation);
    const json = { profile: settings.profile };
    if (profile.refreshToken === undefined) {
      return { kind: "answer", json, title: `the profile "${settings.profile}" has no session` };
    }
    await changeProfiles(path, async (all) => {
      const { [settings.profile]: current = {}, ...others } = all.profiles;
      const { refreshToken = "" } = current;
      // Kept if this fails, so that it can be tried again: the session would live on at the service.
      await connection.anonymous.logout({ refreshToken }, call);
      return { ...all, profiles: { ...others, [settings.profile]: withoutSession(current) } };
    });
    return { kind: "answer", json, title: `logged out of ${settings.address}` };
  },
});

export const whoami = verb({
  name: "whoami",
  about: "Show the person who is logged in",
  examples: ["whoami", "whoami --quiet"],
  flags: {},
  async run({ settings, connection, call, nowMs }) {
    if (settings.credential === undefined) throw new Fault(EXIT.DENIED, "there is no session; run: latchkey login");
    const response = await connection.latchkey.auth.getCurrentUser({}, call);
    return {
      kind: "answer",
      json: jsonOf(GetCurrentUserResponseSchema, response),
      quiet: response.user!.id,
      fields: [...userFields(response.user!, nowMs), ["at", settings.address], ["by", settings.credential.from]],
    };
  },
});

/** The profile in use. A session goes only to the address of its own profile. @throws Fault */
function placeOf({ settings, io }: Invocation): { path: string; profile: Profile } {
  const path = profilesPath(io.env);
  if (path === undefined) {
    throw new Fault(EXIT.FAILED, "there is no place for a session: set HOME or XDG_CONFIG_HOME to a folder of yours");
  }
  const profile = readProfiles(path).profiles[settings.profile];
  const own = readAddress(profile?.address ?? DEFAULT_ADDRESS, `the profile "${settings.profile}"`);
  if (profile !== undefined && own !== settings.address) {
    throw usage(
      `the profile "${settings.profile}" has another address; make one for this address: ` +
        "latchkey config set address URL --profile NAME",
    );
  }
  return { path, profile: profile ?? {} };
}
