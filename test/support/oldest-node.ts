import { join } from "node:path";

/** The oldest Node that the client and the command support, as a package of npm. */
export interface OldestNode {
  /** With its version, for `npm install`. */
  readonly package: string;
  /** Its program once the package is installed in the folder. */
  readonly path: string;
}

/** undefined where npm has no such package for this machine. */
export function oldestNode(folder: string): OldestNode | undefined {
  if (process.platform !== "linux") return undefined;
  const name = `node-linux-${process.arch}`;
  return { package: `${name}@22.23.5`, path: join(folder, "node_modules", name, "bin/node") };
}
