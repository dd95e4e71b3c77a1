/** The form of a generated page of docs/. */

/** A page that is one table below an introduction. */
export function page(
  title: string,
  source: string,
  introduction: string,
  head: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  return `${heading(title, source)}\n\n${introduction}\n\n${table(head, rows)}\n`;
}

/** A page's title, and a comment that names the file which the page is generated from. */
export function heading(title: string, source: string): string {
  return `# ${title}\n\n<!-- Generated from ${source} by \`npm run generate\`: change it there. -->`;
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = (row: readonly string[]) => `| ${row.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [cells(head), cells(head.map(() => "---")), ...rows.map(cells)].join("\n");
}
