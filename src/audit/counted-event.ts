import type { AuditEntry, RefusalKind } from "./audit-event.ts";

/** An entry for the event that counts refusals of one kind about one subject in one hour. */
export interface CountedEntry extends AuditEntry {
  readonly kind: RefusalKind;
  /** With kind and hour it identifies the event for all processes. No API shows it. */
  readonly about: string;
  readonly details: CountedDetails;
}

/**
 * Details of a counted event. `count` is the number of refusals. A name with a space is a tally, such as `from
 * 192.0.2.0/24`; tallies with the same first word add up to `count`. Any other name is a fact, which keeps its latest
 * value.
 */
export type CountedDetails = Readonly<Record<string, string>> & { readonly count: string };

/** Maximum tallies with one first word, so that an event stays below 4 KiB. `<word> others` counts all further ones. */
const MAX_NAMES = 16;

/** The sum of two sets of details. @param details the earlier set */
export function added(details: Readonly<Record<string, string>>, more: CountedDetails): CountedDetails {
  const sum: Record<string, string> = { ...details };
  for (const [name, value] of Object.entries(more)) {
    const slot = isTally(name) ? slotOf(sum, name) : name;
    sum[slot] = isCounted(name) ? String(Number(sum[slot] ?? 0) + Number(value)) : value;
  }
  return sum as CountedDetails;
}

function isTally(name: string): boolean {
  return name.includes(" ");
}

function isCounted(name: string): boolean {
  return name === "count" || isTally(name);
}

/** The name under which a tally is counted: its own while there are fewer than MAX_NAMES, otherwise `<word> others`. */
function slotOf(sum: Readonly<Record<string, string>>, name: string): string {
  const group = name.slice(0, name.indexOf(" ") + 1);
  const others = `${group}others`;
  const named = Object.keys(sum).filter((known) => known.startsWith(group) && known !== others);
  return name in sum || named.length < MAX_NAMES ? name : others;
}
