/** The alert rules and the dashboard name only what exists. `test/interop/prometheus.interop.ts` runs the rules. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";

const ROOT = join(import.meta.dirname, "../..");
/** Series that Prometheus itself makes. */
const OF_PROMETHEUS = ["up"];

interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

const { groups } = parse(read("deploy/prometheus/latchkey.rules.yml")) as { groups: { rules: Rule[] }[] };
const rules = groups.flatMap((group) => group.rules);
const alerts = rules.filter((rule) => rule.alert !== undefined);
const recorded = rules.flatMap(({ record }) => record ?? []);
const exported = exportedNames(read("docs/METRICS.md"));

describe("the alert rules", () => {
  it("have the section of docs/RUNBOOKS.md that they name, and each section has its alert", () => {
    const sections = [...read("docs/RUNBOOKS.md").matchAll(/^## (\S+)$/gm)].map(([, name]) => name!);
    expect(sections.toSorted()).toEqual(alerts.map(({ alert }) => alert!).toSorted());
    for (const { alert, annotations } of alerts) {
      expect(annotations?.runbook).toBe(`docs/RUNBOOKS.md#${alert!.toLowerCase()}`);
    }
  });

  it("say who must act, and the runbook says the same", () => {
    const runbooks = read("docs/RUNBOOKS.md");
    for (const { alert, labels } of alerts) {
      const word = labels?.severity === "page" ? "Page." : "Ticket.";
      expect(runbooks, alert).toContain(`## ${alert}\n\n${word} `);
    }
    expect(new Set(alerts.map(({ labels }) => labels?.severity))).toEqual(new Set(["page", "ticket"]));
  });

  it("are all in the tests of promtool, once firing and once silent", () => {
    const cases = ["rules", "hours"].flatMap((name) => {
      const { tests } = parse(read(`deploy/prometheus/latchkey.${name}.test.yml`)) as {
        tests: { alert_rule_test: { alertname: string; exp_alerts: unknown[] }[] }[];
      };
      return tests.flatMap((test) => test.alert_rule_test);
    });
    for (const { alert } of alerts) {
      const fires = cases.filter(({ alertname }) => alertname === alert).map(({ exp_alerts }) => exp_alerts.length > 0);
      expect(new Set(fires), alert).toEqual(new Set([true, false]));
    }
  });

  it("name only metrics that docs/METRICS.md has", () => {
    for (const { expr } of rules) expect(unknownNames(expr), expr).toEqual([]);
  });

  it("are refused with a metric that does not exist (the control)", () => {
    expect(unknownNames("rate(latchkey_cals_total[5m]) > latchkey_calls_total")).toEqual(["latchkey_cals_total"]);
    expect(unknownNames('histogram_quantile(0.9, latchkey_call_duration_seconds_bucket{le="1"})')).toEqual([]);
  });
});

describe("the dashboard", () => {
  const dashboard = JSON.parse(read("deploy/grafana/latchkey.json")) as { panels: Panel[] };
  const panels = dashboard.panels.flatMap((panel) => [panel, ...(panel.panels ?? [])]);
  const queries = panels.flatMap(({ targets }) => targets ?? []).map(({ expr }) => expr);

  it("names only metrics that docs/METRICS.md has", () => {
    expect(queries.length).toBeGreaterThan(20);
    for (const query of queries) expect(unknownNames(query), query).toEqual([]);
  });

  it("shows every metric of the service", () => {
    const shown = new Set(queries.flatMap(namesIn).map(family));
    const ours = [...exported].filter((name) => name.startsWith("latchkey_"));
    expect(ours.filter((name) => !shown.has(name))).toEqual([]);
  });

  it("has a title, a unit and a description on each panel, and no two panels in one place", () => {
    const charts = panels.filter(({ type }) => type !== "row");
    for (const { title, description, fieldConfig } of charts) {
      expect([title, description, fieldConfig?.defaults.unit], title).not.toContain(undefined);
    }
    const places = panels.map(({ gridPos: { x, y } }) => `${x},${y}`);
    expect(new Set(places).size).toBe(places.length);
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  });
});

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title?: string;
  readonly description?: string;
  readonly gridPos: { readonly x: number; readonly y: number };
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } };
  readonly targets?: readonly { readonly expr: string }[];
  readonly panels?: readonly Panel[];
}

function read(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

/** The first column of the page's tables. */
function exportedNames(page: string): ReadonlySet<string> {
  return new Set([...page.matchAll(/^\| `((?:latchkey|nodejs|process)_[a-z0-9_]+)`/gm)].map(([, name]) => name!));
}

/** The series that a query names: words before `{`, `[`, a space or an end, that are no function and no label. */
function namesIn(query: string): readonly string[] {
  const bare = query.replaceAll(/\{[^}]*\}/g, " ").replaceAll(/\b(by|without|on|ignoring)\s*\([^)]*\)/g, " ");
  return [...bare.matchAll(/\b(latchkey[:_][\w:]+|(?:nodejs|process)_\w+|up)\b/g)].map(([, name]) => name!);
}

/** The metric to which a series of a histogram belongs. */
function family(name: string): string {
  const metric = name.replace(/_(bucket|sum|count)$/, "");
  return exported.has(name) ? name : metric;
}

function unknownNames(query: string): readonly string[] {
  return namesIn(query).filter(
    (name) => !exported.has(family(name)) && !recorded.includes(name) && !OF_PROMETHEUS.includes(name),
  );
}
