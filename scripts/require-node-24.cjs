// Loaded before a program in TypeScript, because an older Node would answer with a stack trace and no advice.
const major = Number(process.versions.node.split(".")[0]);
if (major < 24) {
  process.stderr.write(
    `latchkey: needs Node 24, this is ${process.versions.node}. On Linux with glibc (x64, arm64) \`npm ci\` brings one, unless optional packages are omitted; elsewhere install it.\n`,
  );
  process.exit(1);
}
