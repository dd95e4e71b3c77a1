/** protoc-gen-openapi on this machine. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { delimiter, join } from "node:path";

const NAME = "protoc-gen-openapi";

/** The fault of this machine's protoc-gen-openapi and how to mend it, in one line; undefined if it is right. */
export function pluginFault(): string | undefined {
  const { source, version } = pinned();
  const advice = `npm run generate:openapi needs ${NAME} ${version} in PATH: go install ${source}@${version}`;
  const files = (process.env.PATH ?? "").split(delimiter).map((folder) => join(folder, NAME));
  for (const file of files) {
    const { status, stdout } = spawnSync("go", ["version", "-m", file], { encoding: "utf8" });
    if (status !== 0) continue;
    const found = /^\tmod\t\S+\t(\S+)/m.exec(stdout)?.[1];
    return found === version ? undefined : `${advice} (found ${found})`;
  }
  return advice;
}

/** The version's one home is the list of tools in .ci/run. */
function pinned(): { readonly source: string; readonly version: string } {
  const text = readFileSync(join(import.meta.dirname, "../../.ci/run"), "utf8");
  const [, source, version] = new RegExp(`^ +"${NAME} (\\S+) (\\S+)"$`, "m").exec(text) ?? [];
  if (source === undefined || version === undefined) throw new Error(`.ci/run names no ${NAME}`);
  return { source, version };
}
