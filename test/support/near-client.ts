/** A process that verifies keys near, for faults that concern a whole process. It obeys lines of JSON on its input. */
import { createInterface } from "node:readline";
import { createLatchkey } from "../../client/src/latchkey.ts";

interface Command {
  readonly id: number;
  readonly op: "verify" | "token" | "watch" | "last" | "close";
  readonly text?: string;
}

const { LATCHKEY_URL = "", LATCHKEY_CREDENTIAL = "", LATCHKEY_NEAR = "true" } = process.env;
const latchkey = createLatchkey({
  ...{ baseUrl: LATCHKEY_URL, credential: LATCHKEY_CREDENTIAL, deadlineMs: 5000 },
  near: JSON.parse(LATCHKEY_NEAR),
});
/** The last time, by the wall clock, at which a watched key was accepted near. */
let acceptedAtMs = 0;

async function obey({ op, text = "" }: Command): Promise<unknown> {
  switch (op) {
    case "verify":
      return (await latchkey.verify({ apiKey: text })).verdict;
    case "token":
      return (await latchkey.verifyAccessToken(text)).valid;
    case "watch":
      setInterval(() => {
        if (latchkey.verifySync({ apiKey: text })?.valid) acceptedAtMs = Date.now();
      }, 2);
      return true;
    case "last":
      return acceptedAtMs;
    case "close":
      await latchkey.close();
      process.exit(0);
  }
}

await latchkey.ready();
process.stdout.write("ready\n");
createInterface({ input: process.stdin }).on("line", (line) => {
  const command = JSON.parse(line) as Command;
  obey(command).then(
    (value) => process.stdout.write(`${JSON.stringify({ id: command.id, value })}\n`),
    (error: Error) => process.stdout.write(`${JSON.stringify({ id: command.id, error: error.name })}\n`),
  );
});
