/** The paper of a picture: an SVG with its title, and a look by the reader's own setting, light or dark. */

export interface Paper {
  readonly width: number;
  readonly height: number;
  readonly title: string;
  /** The x of the title, which stands at the top. */
  readonly left: number;
  /** Rules of CSS beyond those of text, paper, grid and lines. */
  readonly style: string;
  /** The colours of these rules in dark. */
  readonly darkStyle: string;
  /** Elements of SVG. */
  readonly parts: readonly string[];
}

/** An SVG with a background of its own, so that it is readable on any page. */
export function paperOf({ width, height, title, left, style, darkStyle, parts }: Paper): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img">
<title>${escaped(title)}</title>
<style>
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 15px; font-weight: 600 }
  .paper { fill: #ffffff; stroke: #d1d9e0 }
  .grid { stroke: #d1d9e0 }
  .line { fill: none; stroke-width: 2 }${style}
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .paper { fill: #0d1117; stroke: #3d444d }
    .grid { stroke: #3d444d }${darkStyle}
  }
</style>
<rect class="paper" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8"/>
<text class="title" x="${left}" y="28">${escaped(title)}</text>
${parts.join("\n")}
</svg>
`;
}

/** A text as content of an element. */
export function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

/** A coordinate, rounded to a tenth of a pixel. */
export function tenths(value: number): number {
  return Math.round(value * 10) / 10;
}
