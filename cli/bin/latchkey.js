#!/usr/bin/env node
// The file that npm links as the command. It is not compiled, because npm links it at install, before the build.
import { existsSync } from "node:fs";

const main = new URL("../dist/main.js", import.meta.url);
if (existsSync(main)) {
  await import(main.href);
} else {
  process.stderr.write("latchkey: the command is not built yet; run `npm run prepare` in the repository's root\n");
  process.exitCode = 1;
}
