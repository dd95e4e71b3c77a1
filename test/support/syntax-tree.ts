/** A source's syntax tree, with the queries that the tidy rules need. */
import { parseAst } from "vitest/node";

export interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [field: string]: unknown;
}

export function parse(text: string): Node {
  return parseAst(text, { lang: "ts" }) as unknown as Node;
}

export function childrenOf(node: Node): Node[] {
  return Object.values(node)
    .flat()
    .filter((value): value is Node => asNode(value) !== undefined);
}

/** A node and all below it, in the order of the source. */
export function nodesOf(node: Node): Node[] {
  return [node, ...childrenOf(node).flatMap(nodesOf)];
}

export function asNode(value: unknown): Node | undefined {
  return typeof value === "object" && value !== null && "type" in value ? (value as Node) : undefined;
}

/** The last name of `a` or `x.y.a`, so that `globalThis.process` is `process`. */
export function identifier(value: unknown): string {
  const node = asNode(value);
  if (node?.type === "MemberExpression") return identifier(node.property);
  return typeof node?.name === "string" ? node.name : "?";
}
