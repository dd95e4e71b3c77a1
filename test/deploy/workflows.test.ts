/** The workflows run only code that is named by its digest, and each job has no more rights than it uses. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";

interface Step {
  readonly uses?: string;
  readonly run?: string;
  readonly with?: Readonly<Record<string, unknown>>;
}

interface Workflow {
  readonly on: Readonly<Record<string, unknown>>;
  readonly permissions: Readonly<Record<string, string>>;
  readonly jobs: Readonly<
    Record<
      string,
      {
        readonly permissions?: Readonly<Record<string, string>>;
        readonly needs?: string | readonly string[];
        readonly "timeout-minutes": number;
        readonly steps: readonly Step[];
      }
    >
  >;
}

const root = join(import.meta.dirname, "../..");
const FILES = globSync(".github/workflows/*", { cwd: root }).sort();
const textOf = (file: string) => readFileSync(join(root, file), "utf8");
const workflowOf = (file: string) => parse(textOf(file)) as Workflow;
const release = workflowOf(".github/workflows/release.yml");

it("are two", () => {
  expect(FILES).toEqual([".github/workflows/ci.yml", ".github/workflows/release.yml"]);
});

describe.each(FILES)("%s", (file) => {
  const { jobs, permissions } = workflowOf(file);
  const steps = Object.values(jobs).flatMap((job) => job.steps);

  it("names each action by a commit, with its version beside it", () => {
    const uses = textOf(file).match(/^ *(?:- )?uses: .*$/gm)!;
    expect(uses).toHaveLength(steps.filter((step) => step.uses !== undefined).length);
    expect(uses.filter((line) => !/uses: [\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/.test(line))).toEqual([]);
  });

  it("names each image by a digest", () => {
    const images = textOf(file).match(/docker\.io\/\S+/g) ?? [];
    expect(images.filter((image) => !/@sha256:[0-9a-f]{64}$/.test(image))).toEqual([]);
  });

  it("keeps no credential in the checkout, and caches nothing that another run could have filled", () => {
    const withOf = (action: string) => steps.filter(({ uses }) => uses?.startsWith(action)).map((step) => step.with);
    const shallow = { "persist-credentials": false };
    const ways = [shallow, { ...shallow, "fetch-depth": 0 }];
    for (const each of withOf("actions/checkout@")) expect(ways).toContainEqual(each);
    for (const each of withOf("actions/setup-node@")) expect(each).toMatchObject({ "package-manager-cache": false });
    for (const each of withOf("actions/setup-go@")) expect(each).toMatchObject({ cache: false });
  });

  it("gives no right to all jobs beyond reading, and each job an end", () => {
    expect(Object.entries(permissions).filter(([, right]) => right !== "read")).toEqual([]);
    for (const job of Object.values(jobs)) expect(job["timeout-minutes"]).toBeLessThanOrEqual(60);
  });

  it("puts nothing that others choose into a script: scripts read the environment", () => {
    expect(steps.filter(({ run }) => run?.includes("${{"))).toEqual([]);
  });
});

describe("a release", () => {
  it("begins with a tag alone, and publishes nothing before all checks have passed", () => {
    expect(release.on).toEqual({ push: { tags: ["v*"] } });
    const needs = Object.fromEntries(Object.entries(release.jobs).map(([name, job]) => [name, job.needs]));
    expect(needs).toEqual({ check: undefined, image: "check", packages: "check", release: ["image", "packages"] });
  });

  it("gives each job the rights that it uses", () => {
    const rights = Object.fromEntries(Object.entries(release.jobs).map(([name, job]) => [name, job.permissions]));
    expect(release.permissions).toEqual({});
    expect(rights).toEqual({
      check: { contents: "read" },
      image: { contents: "read", packages: "write", "id-token": "write", attestations: "write" },
      packages: { contents: "read", "id-token": "write" },
      release: { contents: "write", "id-token": "write", attestations: "write" },
    });
  });

  it("builds the image for two kinds of processor with provenance, and attests image, packages and chart", () => {
    const stepsOf = (action: string) =>
      Object.values(release.jobs).flatMap(({ steps }) => steps.filter(({ uses }) => uses?.startsWith(action)));
    expect(stepsOf("docker/build-push-action@").map((step) => step.with)).toEqual([
      expect.objectContaining({ platforms: "linux/amd64,linux/arm64", provenance: "mode=max", push: true }),
    ]);
    const digest = expect.objectContaining({ "subject-digest": expect.stringContaining("steps.build.outputs.digest") });
    expect(stepsOf("actions/attest@").map((step) => step.with)).toEqual([
      digest,
      expect.objectContaining({ "sbom-path": "sbom.cdx.json" }),
      { "subject-path": "release/*.tgz" },
    ]);
    const scripts = Object.values(release.jobs).flatMap(({ steps }) => steps.map(({ run }) => run ?? ""));
    expect(scripts.filter((run) => run.startsWith("npm sbom --sbom-format cyclonedx"))).toHaveLength(1);
    const published = scripts.filter((run) => run.startsWith("npm publish"));
    expect(published).toEqual(
      ["client", "cli"].map((name) => `npm publish --ignore-scripts --provenance --access public --workspace ${name}`),
    );
  });

  it("runs no script of a dependency where it may sign or publish", () => {
    const mightSign = Object.values(release.jobs).filter(({ permissions }) => permissions?.["id-token"] === "write");
    const scripts = mightSign.flatMap(({ steps }) => steps.map(({ run }) => run ?? ""));
    const installs = scripts.filter((run) => /\bnpm (ci|i|install|rebuild|exec)\b|\bnpx\b/.test(run));
    expect(installs).toEqual(["npm ci --ignore-scripts --no-audit --no-fund && node scripts/build-packages.cjs"]);
  });

  it("writes the image and its digest into the values that the packaged chart has", () => {
    const values = readFileSync(join(root, "deploy/chart/latchkey/values.yaml"), "utf8");
    for (const name of ["repository", "tag", "digest"]) {
      expect(values.match(new RegExp(`^  ${name}: .*`, "gm")), `sed finds ${name} once`).toEqual([`  ${name}: ""`]);
    }
  });
});
