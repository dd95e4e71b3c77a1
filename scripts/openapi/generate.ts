/**
 * `npm run generate:openapi`: writes src/rpc/standard/openapi.json, or the file that is named. Needs protoc-gen-openapi
 * in the version that .ci/run installs.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { accessRule } from "../../src/rpc/access.ts";
import { mend } from "./mend.ts";
import { pluginFault } from "./plugin.ts";

const root = join(import.meta.dirname, "../..");
const target = process.argv[2] ?? join(root, "src/rpc/standard/openapi.json");

const fault = pluginFault();
if (fault !== undefined) {
  process.stderr.write(`${fault}\n`);
  process.exit(1);
}
const scratch = mkdtempSync(join(tmpdir(), "latchkey-openapi-"));
try {
  const flags = ["generate", "--template", "buf.gen.openapi.yaml", "--output", scratch];
  const { status, stderr, error } = spawnSync("buf", flags, { cwd: root, encoding: "utf8" });
  if (status !== 0) throw new Error(`buf ${flags.join(" ")}: ${error?.message ?? stderr}`);
  const generated = parse(readFileSync(join(scratch, "openapi.yaml"), "utf8"));
  writeFileSync(target, `${JSON.stringify(mend(generated, ruleOf), null, 1)}\n`);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

function ruleOf(service: string, method: string) {
  const methods = [AdminService, AuthService, KeyService].find(({ name }) => name === service)?.methods ?? [];
  const found = methods.find(({ name }) => name === method);
  if (found === undefined) throw new Error(`${service}_${method} is not a method of the contract`);
  return accessRule(found);
}
