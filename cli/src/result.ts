import {
  type DescEnum,
  type DescMessage,
  type JsonObject,
  type JsonValue,
  type MessageShape,
  toJson,
} from "@bufbuild/protobuf";
import type { ExitCode } from "./exit-codes.ts";
import type { Style } from "./styles.ts";

/** A text of a cell or a field, with the colour that it has on a terminal. */
export type Cell = string | { readonly text: string; readonly style: Style };

/** One thing, as a line for each of its fields. Empty fields are left out. */
export type Fields = readonly (readonly [label: string, value: Cell])[];

/** One answer. */
export interface Answer {
  readonly kind: "answer";
  /** For --json and --jsonl. */
  readonly json: JsonValue;
  /** For --quiet: the secret where one is made, else the id; undefined where there is neither. */
  readonly quiet?: string | undefined;
  /** A new secret. For people it goes to standard output alone, and the fields to standard error. */
  readonly secret?: string | undefined;
  /** A sentence for people, above the fields. */
  readonly title?: Cell;
  readonly fields?: Fields;
  /** Tables below the fields. */
  readonly tables?: readonly TableOf[];
  readonly exitCode?: ExitCode;
}

/** The head of a column, and what may happen to the column where there is little room. */
export interface Head {
  /** In capitals. */
  readonly name: string;
  /** "id" is always shown in full, "text" may be cut, "extra" may be left out. */
  readonly role: "id" | "text" | "extra";
  /** A text is not cut below this many columns, and an extra column is cut to them before it is left out. */
  readonly least?: number;
  /** Extra columns are left out before this text is cut below this many columns, which is 12 if unset. */
  readonly readable?: number;
}

/** Rows of cells with a head. */
export interface TableOf {
  readonly head: readonly Head[];
  readonly rows: readonly (readonly Cell[])[];
}

/** One item of a list or a stream. */
export interface Item {
  readonly json: JsonValue;
  /** For --quiet. */
  readonly quiet: string;
  readonly cells: readonly Cell[];
}

/** A list of pages. */
export interface Listing {
  readonly kind: "listing";
  readonly head: readonly Head[];
  readonly pages: AsyncIterable<readonly Item[]>;
  /** The response message with the items of all pages, for --json. Called after the last page. */
  readonly merged: (items: readonly JsonValue[]) => JsonValue;
  /** The sentence for people where there is no item. */
  readonly none: string;
}

/** Items that come over time, each shown as it comes: a line of cells for people, a line of JSON for programs. */
export interface Stream {
  readonly kind: "stream";
  readonly head: readonly Head[];
  readonly items: AsyncIterable<Item>;
}

/** A text that goes to standard output as it is, whatever the format. It must have no data of others. */
export interface Verbatim {
  readonly kind: "verbatim";
  readonly text: string | AsyncIterable<string>;
}

/** The finding of a verb, in every form that may be asked for. */
export type Result = Answer | Listing | Stream | Verbatim;

/** A message as proto3 JSON, with the fields of their zero value: `valid: false` must be seen. */
export function jsonOf<D extends DescMessage>(schema: D, message: MessageShape<D>): JsonObject {
  return toJson(schema, message, { alwaysEmitImplicit: true }) as JsonObject;
}

/** The name of an enumeration's value, such as "ACTIVE"; "UNKNOWN" for a value that a newer service sent. */
export function enumName(schema: DescEnum, value: number): string {
  return schema.value[value]?.localName ?? "UNKNOWN";
}

interface ListingOf<D extends DescMessage, T> {
  readonly schema: D;
  /** The field of the response that has the items, as JSON spells it. */
  readonly field: keyof MessageShape<D> & string;
  /** Gets one page. */
  readonly page: (pageToken: string, pageSize: number) => Promise<MessageShape<D> & { nextPageToken?: string }>;
  /** Maximum items; undefined: all. */
  readonly limit: number | undefined;
  readonly columns: readonly Column<T>[];
  readonly quiet: (item: T) => string;
  readonly none: string;
}

export interface Column<T> extends Head {
  readonly cell: (item: T) => Cell;
}

/** The service's largest page. */
const PAGE_SIZE = 250;

/** A list of all pages of a method, or of as many as the limit needs. A method may have no pages. */
export function listingOf<D extends DescMessage, T>(list: ListingOf<D, T>): Listing {
  const { schema, field, columns } = list;
  let last: JsonObject = {};
  async function* pages(): AsyncGenerator<readonly Item[]> {
    let left = list.limit ?? Number.POSITIVE_INFINITY;
    let token = "";
    do {
      const response = await list.page(token, Math.min(PAGE_SIZE, left));
      last = jsonOf(schema, response);
      const items = (response[field] as readonly T[]).slice(0, left);
      const json = last[field] as JsonValue[];
      yield items.map((item, at) => ({
        json: json[at]!,
        quiet: list.quiet(item),
        cells: columns.map(({ cell }) => cell(item)),
      }));
      left -= items.length;
      token = response.nextPageToken ?? "";
    } while (token !== "" && left > 0);
  }
  return {
    kind: "listing",
    head: columns,
    pages: pages(),
    // The last page's token would continue behind the limit's page, not behind its last item.
    merged: (items) => ({ ...last, [field]: [...items], ...("nextPageToken" in last && { nextPageToken: "" }) }),
    none: list.none,
  };
}
