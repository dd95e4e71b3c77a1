/** The package as it is published: packed, installed in an empty folder, compiled against and run there. */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { oldestNode } from "../support/oldest-node.ts";

const root = join(import.meta.dirname, "../..");
const manifest = JSON.parse(readFileSync(join(root, "client/package.json"), "utf8"));
const folder = mkdtempSync(join(tmpdir(), "latchkey-pack-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const OLDEST = oldestNode(folder);

const SETTINGS = { target: "es2022", lib: ["es2024", "esnext.disposable", "dom"], module: "nodenext", strict: true };

function run(command: string, ...args: readonly string[]): string {
  return execFileSync(command, args, { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

let packed: { readonly filename: string; readonly files: readonly { readonly path: string }[] };

beforeAll(() => {
  [packed] = JSON.parse(run("npm", "pack", join(root, "client"), "--json", "--silent"));
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "consumer", private: true, type: "module" }));
  const { devDependencies } = manifest;
  const names = ["express", "fastify", "hono", "@grpc/grpc-js", "@types/express"];
  const frameworks = names.map((name) => `${name}@${devDependencies[name]}`);
  const tools = ["typescript@5.9.3", "@types/node@24.10.1", ...(OLDEST === undefined ? [] : [OLDEST.package])];
  const quiet = ["--prefer-offline", "--no-audit", "--no-fund", "--silent"];
  run("npm", "install", ...quiet, `./${packed.filename}`, ...frameworks, ...tools);
});

describe("the packed client", () => {
  it("has its licence, its README and every file that its exports name", () => {
    const paths = packed.files.map(({ path }) => path);
    const exported = Object.values<string | Record<string, string>>(manifest.exports).flatMap((one) =>
      typeof one === "string" ? [one] : Object.values(one),
    );
    expect(paths).toEqual(expect.arrayContaining(["LICENSE", "README.md", ...exported.map((path) => path.slice(2))]));
    expect(paths.filter((path) => /\.ts$/.test(path) && !/\.d\.ts$/.test(path))).toEqual([]);
  });

  it("brings no other package than it names", () => {
    const names = JSON.parse(run("npm", "ls", "--all", "--json")).dependencies["@latchkey/client"].dependencies;
    const optional = Object.keys(manifest.peerDependencies);
    expect(
      Object.keys(names)
        .filter((name) => !optional.includes(name))
        .sort(),
    ).toEqual(Object.keys(manifest.dependencies).sort());
  });

  it.each([
    ["5", ["node", join(folder, "node_modules/typescript/bin/tsc")]],
    ["7", ["node", join(root, "node_modules/typescript/bin/tsc")]],
  ])(
    "has types that TypeScript %s reads in full, and decorators that it lowers for Node 22 and 24",
    (version, [command, ...args]) => {
      copyFileSync(join(root, "test/client/consumer.ts"), join(folder, "consumer.ts"));
      mkdirSync(join(folder, version), { recursive: true });
      const config = {
        compilerOptions: { ...SETTINGS, types: ["node"], outDir: version, skipLibCheck: false },
        files: ["consumer.ts"],
      };
      writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
      run(command!, ...args, "--project", folder);
      for (const node of ["node", ...(OLDEST === undefined ? [] : [OLDEST.path])]) {
        expect(run(node, join(version, "consumer.js"))).toBe("every decorator works\n");
      }
    },
  );
});
