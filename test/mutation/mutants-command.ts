import { mutantsOf } from "./tested-mutant.ts";

const PROFILES = ["test/command/profiles.test.ts"];
const LINE = ["test/command/command-line.test.ts"];
const OUTPUT = ["test/command/output.test.ts"];

/** The command: where a credential goes, which files are believed, and what is repeated. */
export const COMMAND_MUTANTS = [
  ...mutantsOf("cli/src/settings.ts", PROFILES, [
    {
      name: "a profile's credential for any address",
      search: "credential: credentialOf(flags, env, name, own) };",
      replacement: "credential: credentialOf(flags, env, name, profile) };",
      why: "a copied line with --address sends an operator's credential to a stranger",
    },
    {
      name: "http for every address without a scheme",
      search: 'LOOPBACK.test(trimmed) ? "http" : "https"',
      replacement: '"http"',
      why: "a credential crosses a network in clear text",
    },
  ]),
  ...mutantsOf("cli/src/profiles.ts", PROFILES, [
    {
      name: "a file that others may read",
      search: 'checkPrivate(path, stats, "600");',
      replacement: "",
      why: "others read a credential, or put their own address into the file",
    },
    {
      name: "a folder that others may enter",
      search: 'checkPrivate(dirname(path), folder, "700");',
      replacement: "",
      why: "others put their own file in its place",
    },
    {
      name: "a file through a symbolic link",
      search: "openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)",
      replacement: "openSync(path, O_RDONLY | O_NONBLOCK)",
      why: "a link of another user leads to a file of theirs",
    },
  ]),
  ...mutantsOf("cli/src/refused-arguments.ts", LINE, [
    {
      name: "secrets as arguments",
      search: "args.some((arg) => SECRETS.some((secret) => secret.test(arg)))",
      replacement: "false",
      why: "a secret stays in the shell's history, and nothing says so",
    },
  ]),
  ...mutantsOf("cli/src/program.ts", LINE, [
    {
      name: "commander's own errors",
      search: "outputError: () => {},",
      replacement: "",
      why: "they repeat arguments, and one may be a secret",
    },
  ]),
  ...mutantsOf("cli/src/text.ts", OUTPUT, [
    {
      name: "control characters of others in JSON",
      search: 'return text.replace(CONTROL, (character) => (character === "\\n" ? character : escaped(character)));',
      replacement: "return text;",
      why: "the name of a key moves the cursor of an operator's terminal",
    },
  ]),
];
