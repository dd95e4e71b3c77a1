/** Prometheus' text format, as far as a scrape needs it. */

/** Samples by name and labels, as the text has them: `latchkey_calls_total{method="…",code="Ok"}`. */
export type Samples = Readonly<Record<string, number>>;

/** @returns the samples of an exposition, without comments, timestamps and values that are no number */
export function samplesOf(text: string): Samples {
  const samples: Record<string, number> = {};
  for (const line of text.split("\n")) {
    const [, series, value] = /^([a-zA-Z_:][\w:]*(?:\{.*\})?) (\S+)/.exec(line) ?? [];
    if (series !== undefined && Number.isFinite(Number(value))) samples[series] = Number(value);
  }
  return samples;
}

/** The name and the labels of a series. */
export function seriesOf(series: string): { readonly name: string; readonly labels: Readonly<Record<string, string>> } {
  const [, name = "", body = ""] = /^([^{]*)(?:\{(.*)\})?$/.exec(series) ?? [];
  const labels = [...body.matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g)].map(([, key, value]) => [key!, value!]);
  return { name, labels: Object.fromEntries(labels) };
}
