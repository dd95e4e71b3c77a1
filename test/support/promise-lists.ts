/**
 * Finds lists of promises that the code awaits one by one. While it awaits the first promise, another one may reject.
 * No handler listens to that one yet, so Node ends the process.
 */
import { asNode, identifier, type Node, nodesOf } from "./syntax-tree.ts";

/** Functions of tests that await their argument. */
const WAITERS = new Set(["errorOf", "codeOf"]);
const BLOCKS = new Set(["Program", "BlockStatement", "StaticBlock"]);

/** The names of such lists; `(a list)` for one without a name. */
export function promisesAwaitedOneByOne(root: Node): readonly string[] {
  return nodesOf(root).flatMap((node) => {
    if (BLOCKS.has(node.type)) return declaratorsOf(node).flatMap((each) => faultsOfList(node, each));
    return isLoop(node) && isNewList(node.right) && isWaitedInTurn(node) ? ["(a list)"] : [];
  });
}

/** The faulty names of `const list = xs.map(...)` or `const [a, b] = [...]`, by what the block does with them. */
function faultsOfList(block: Node, { id, init }: Node): readonly string[] {
  const pattern = asNode(id)!;
  if (!isNewList(init)) return [];
  if (pattern.type === "ArrayPattern") {
    const names = (pattern.elements as unknown[]).map(identifier);
    return names.length > 1 ? names.filter((name) => isWaitedAlone(block, name)) : [];
  }
  const name = identifier(pattern);
  const waits = nodesOf(block).filter((node) =>
    isLoop(node) ? listOf(node) === name && isWaitedInTurn(node) : isElementOf(name, waitedBy(node)),
  );
  return waits.length > 0 && !isHeardBefore(block, name, waits[0]!.start) ? [name] : [];
}

function declaratorsOf(block: Node): Node[] {
  const statements = block.body as Node[];
  return statements
    .map((each) => (each.type === "ExportNamedDeclaration" ? asNode(each.declaration) : each))
    .flatMap((each) => (each?.type === "VariableDeclaration" ? (each.declarations as Node[]) : []));
}

/**
 * Whether a value is a new list that may have promises: `[...]`, `xs.map(...)`, `xs.flatMap(...)`, `Array.from(xs,
 * ...)`.
 */
function isNewList(value: unknown): boolean {
  const node = bare(value);
  if (node?.type === "ArrayExpression") return true;
  const callee = asNode(node?.callee);
  if (node?.type !== "CallExpression" || callee?.type !== "MemberExpression") return false;
  const method = identifier(callee.property);
  if (method === "from") return identifier(callee.object) === "Array" && (node.arguments as Node[]).length === 2;
  return method === "map" || method === "flatMap";
}

function isLoop(node: Node): boolean {
  return node.type === "ForOfStatement";
}

/** Name of the list that a loop iterates, as `list` or as `list.entries()`. */
function listOf(loop: Node): string {
  const right = bare(loop.right);
  const callee = asNode(right?.callee);
  return identifier(callee !== undefined && identifier(callee.property) === "entries" ? callee.object : right);
}

/** Whether a loop awaits each element before the next one. */
function isWaitedInTurn(loop: Node): boolean {
  if (loop.await === true) return true;
  const target = asNode((asNode(loop.left)?.declarations as Node[] | undefined)?.[0]?.id);
  const element = target?.type === "ArrayPattern" ? (target.elements as unknown[]).at(-1) : target;
  return isWaitedAlone(asNode(loop.body)!, identifier(element));
}

function isWaitedAlone(node: Node, name: string): boolean {
  return nodesOf(node).some((each) => {
    const waited = waitedBy(each);
    return waited?.type === "Identifier" && identifier(waited) === name;
  });
}

function isElementOf(list: string, node: Node | undefined): boolean {
  return node?.type === "MemberExpression" && node.computed === true && identifier(node.object) === list;
}

/** The awaited promise of `await a`, `expect(a).rejects`, `expect(a).resolves` or a call of WAITERS. */
function waitedBy(node: Node): Node | undefined {
  if (node.type === "AwaitExpression") return bare(node.argument);
  if (node.type === "CallExpression" && WAITERS.has(identifier(node.callee))) return firstArgument(node);
  if (node.type !== "MemberExpression" || !/^(rejects|resolves)$/.test(identifier(node.property))) return undefined;
  const expectation = bare(node.object);
  return expectation?.type === "CallExpression" ? firstArgument(expectation) : undefined;
}

/** Whether all promises of the list have a listener before this place, by `Promise.all(list)` or the like. */
function isHeardBefore(block: Node, list: string, at: number): boolean {
  return nodesOf(block).some((node) => {
    const callee = asNode(node.callee);
    const isJoining = node.type === "CallExpression" && identifier(callee?.object) === "Promise";
    return isJoining && node.start < at && identifier(firstArgument(node)) === list;
  });
}

function firstArgument(call: Node): Node | undefined {
  return bare((call.arguments as Node[])[0]);
}

/** The node without `!`, `as` and parentheses. */
function bare(value: unknown): Node | undefined {
  let node = asNode(value);
  while (node !== undefined && /^(TS.*Expression|ParenthesizedExpression)$/.test(node.type)) {
    node = asNode(node.expression);
  }
  return node;
}
