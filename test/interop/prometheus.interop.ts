/** The alert rules, as Prometheus' own tool judges them, and the metrics of a running service, as it reads them. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse, stringify } from "yaml";
import { hasTools } from "./tools.ts";

const FOLDER = join(import.meta.dirname, "../../deploy/prometheus");
const PROMTOOL = [["promtool", "--version"], "install Debian's package prometheus"] as const;

describe.skipIf(!hasTools(PROMTOOL))("the alert rules", () => {
  it("are rules that Prometheus loads", () => {
    expect(promtool("check", "rules", join(FOLDER, "latchkey.rules.yml"))).toMatchObject({ status: 0, stderr: "" });
  });

  it("fire and are silent as their tests say", () => {
    const files = ["latchkey.rules.test.yml", "latchkey.hours.test.yml"].map((name) => join(FOLDER, name));
    const { status, stdout, stderr } = promtool("test", "rules", ...files);
    expect({ status, output: status === 0 ? "" : stdout + stderr }).toEqual({ status: 0, output: "" });
  });

  it("fail their tests with another threshold (the control)", async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), "latchkey-rules-"));
    const rules = readFileSync(join(FOLDER, "latchkey.rules.yml"), "utf8");
    await writeFile(join(folder.path, "latchkey.rules.yml"), rules.replace("database_away == 1", "database_away == 2"));
    const suite = parse(readFileSync(join(FOLDER, "latchkey.rules.test.yml"), "utf8"));
    const tests = suite.tests.filter(({ name }: { name: string }) => name.startsWith("LatchkeyDatabaseUnreachable"));
    expect(tests.length).toBeGreaterThan(1);
    await writeFile(join(folder.path, "latchkey.rules.test.yml"), stringify({ ...suite, tests }));
    const { status, stdout, stderr } = promtool("test", "rules", join(folder.path, "latchkey.rules.test.yml"));
    expect([status, stdout + stderr]).toEqual([1, expect.stringContaining("LatchkeyDatabaseUnreachable")]);
  });
});

describe.skipIf(!hasTools(PROMTOOL))("the dashboard", () => {
  it("asks queries that Prometheus reads", async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), "latchkey-queries-"));
    const dashboard = JSON.parse(readFileSync(join(FOLDER, "../grafana/latchkey.json"), "utf8"));
    const targets = dashboard.panels.flatMap((panel: { targets?: { expr: string }[] }) => panel.targets ?? []);
    const rules = targets.map(({ expr }: { expr: string }, at: number) => ({
      record: `query:${at}`,
      expr: expr.replaceAll("$__rate_interval", "5m").replaceAll(/\$(job|instance)/g, ".*"),
    }));
    expect(rules.length).toBeGreaterThan(20);
    const file = join(folder.path, "queries.yml");
    await writeFile(file, stringify({ groups: [{ name: "dashboard", rules }] }));
    expect(promtool("check", "rules", "--lint=none", file)).toMatchObject({ status: 0, stderr: "" });
    await writeFile(
      file,
      stringify({ groups: [{ name: "dashboard", rules: [{ record: "query:0", expr: "sum by" }] }] }),
    );
    expect(promtool("check", "rules", "--lint=none", file).status).toBe(1);
  });
});

function promtool(...args: readonly string[]) {
  return spawnSync("promtool", args, { encoding: "utf8" });
}
