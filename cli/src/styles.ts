import { styleText } from "node:util";

/** A meaning that has a colour. */
export type Style = "good" | "paused" | "bad" | "faint" | "head";

const FORMATS = { good: "green", paused: "yellow", bad: "red", faint: "dim", head: "bold" } as const;

/** The text in the colour of its meaning, where the stream has colour. */
export function styled(text: string, style: Style, hasColour: boolean): string {
  return hasColour ? styleText(FORMATS[style], text, { validateStream: false }) : text;
}
