/** A process that runs with one fault in its own source: the control of a test of real processes. */

import { join } from "node:path";
import { pathToFileURL } from "node:url";

/** A fault of one line, as a developer could make it. */
export interface SourceFault {
  /** Path from the root of the project. */
  readonly file: string;
  /** The text to replace. It must occur once in the file, or the process does not start. */
  readonly search: string;
  readonly replacement: string;
}

const root = join(import.meta.dirname, "../..");

/** Flags for Node, so that it loads the file with the fault. The file on disk stays unchanged. */
export function withFault({ file, search, replacement }: SourceFault): readonly string[] {
  const [url, from, to] = [pathToFileURL(join(root, file)).href, search, replacement].map((text) =>
    JSON.stringify(text),
  );
  const hook = `
    import { registerHooks } from "node:module";
    registerHooks({
      load(url, context, nextLoad) {
        const loaded = nextLoad(url, context);
        if (url !== ${url}) return loaded;
        const parts = loaded.source.toString().split(${from});
        if (parts.length !== 2) throw new Error(${from} + " does not occur once");
        return { ...loaded, source: parts.join(${to}) };
      },
    });`;
  return [`--import=data:text/javascript,${encodeURIComponent(hook)}`];
}
