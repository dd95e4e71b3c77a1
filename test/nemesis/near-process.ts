/**
 * The process of near.ts: clients with near verification, one for each URL. It reads one command a line from its input,
 * and writes one answer a line, as JSON.
 */
import { createInterface } from "node:readline";
import { createLatchkey } from "../../client/src/latchkey.ts";
import type { NearCommand, NearSaid } from "./near.ts";

const { NEAR_URLS = "", NEAR_CREDENTIAL = "" } = process.env;

/** `counting: "after"`, because keys with limits would be judged by calls otherwise. */
const clients = NEAR_URLS.split(",").map((baseUrl) =>
  createLatchkey({ baseUrl, credential: NEAR_CREDENTIAL, deadlineMs: 1500, near: { counting: "after" } }),
);

async function obey({ client, apiKey, scope, id }: NearCommand): Promise<NearSaid> {
  if (apiKey === undefined) {
    const { rss, heapUsed } = process.memoryUsage();
    return { id, memory: { rssBytes: rss, heapBytes: heapUsed } };
  }
  try {
    const requiredScopes = scope === "" ? [] : [scope];
    const { verdict, source, ageMs } = await clients[client]!.verify({ apiKey, requiredScopes });
    return { id, judged: { verdict, source, ageMs } };
  } catch (error) {
    return { id, error: (error as Error).name };
  }
}

process.stdout.write("ready\n");
createInterface({ input: process.stdin }).on("line", (line) => {
  void obey(JSON.parse(line) as NearCommand).then((said) => process.stdout.write(`${JSON.stringify(said)}\n`));
});
