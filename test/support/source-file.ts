/** A source file's imports, words and lengths of functions, read from its syntax tree. */
import { promisesAwaitedOneByOne } from "./promise-lists.ts";
import { asNode, childrenOf, identifier, type Node, parse } from "./syntax-tree.ts";

export interface SourceFile {
  /** Path from the project's root, with slashes. */
  readonly path: string;
  readonly lines: number;
  /** Specifiers of import, export-from, import() and import types, as written. */
  readonly imports: readonly string[];
  /** `module#name` for each name that is imported or exported on; `*` for a module as a whole. */
  readonly importedNames: readonly string[];
  /** `object.property` for each access to a property of a plain name, `{key}`, `new Name()` or `new Name(...)`. */
  readonly words: ReadonlySet<string>;
  readonly functions: readonly FunctionSize[];
  /** Names of lists of promises that the code awaits one by one. */
  readonly promiseLists: readonly string[];
}

export interface FunctionSize {
  readonly name: string;
  /** Number of lines, without those of the functions inside it. */
  readonly lines: number;
}

const FUNCTIONS = new Set(["FunctionDeclaration", "FunctionExpression", "ArrowFunctionExpression"]);

export function readSource(path: string, text: string): SourceFile {
  const root = parse(text);
  const imports: string[] = [];
  const importedNames: string[] = [];
  const words = new Set<string>();
  const functions: FunctionSize[] = [];
  const lineOf = (offset: number) => text.slice(0, offset).split("\n").length;
  const linesOf = (node: Node) => lineOf(node.end) - lineOf(node.start) + 1;

  function visit(node: Node, owner: Node | undefined): number {
    const source = importOf(node);
    if (source !== undefined) imports.push(source);
    if (source !== undefined) importedNames.push(...namesOf(node).map((name) => `${source}#${name}`));
    for (const word of wordsOf(node)) words.add(word);
    let inner = 0;
    for (const child of childrenOf(node)) inner += visit(child, node);
    if (!FUNCTIONS.has(node.type)) return inner;
    functions.push({ name: nameOf(node, owner), lines: linesOf(node) - inner });
    return linesOf(node) - 1;
  }
  visit(root, undefined);
  return {
    path,
    lines: text.trimEnd().split("\n").length,
    imports,
    importedNames,
    words,
    functions,
    promiseLists: promisesAwaitedOneByOne(root),
  };
}

/** The specifier of a node that imports; a computed one is `?`, which no rule can allow. */
function importOf(node: Node): string | undefined {
  switch (node.type) {
    case "ImportDeclaration":
    case "ExportAllDeclaration":
    case "ExportNamedDeclaration":
    case "TSImportType":
      return node.source === null ? undefined : String(asNode(node.source)?.value);
    case "ImportExpression":
      return asNode(node.source)?.type === "Literal" ? String(asNode(node.source)?.value) : "?";
    default:
      return undefined;
  }
}

/** The names that a node imports from a module; `*` if it imports the whole module. */
function namesOf(node: Node): readonly string[] {
  if (node.type === "TSImportType") return [];
  const specifiers = (node.specifiers as Node[] | undefined) ?? [undefined];
  return specifiers.map((each) => {
    const name = asNode(each?.imported) ?? (node.type === "ExportNamedDeclaration" ? asNode(each?.local) : undefined);
    return String(name?.name ?? name?.value ?? "*");
  });
}

function wordsOf(node: Node): readonly string[] {
  switch (node.type) {
    case "MemberExpression": {
      const property = asNode(node.property);
      return [`${identifier(node.object)}.${property?.name ?? property?.value}`];
    }
    case "VariableDeclarator": {
      const pattern = asNode(node.id);
      if (pattern?.type !== "ObjectPattern") return [];
      return (pattern.properties as Node[]).map((each) => `${identifier(node.init)}.${identifier(each.key)}`);
    }
    case "Property": {
      const key = asNode(node.key);
      return [`{${key?.name ?? key?.value}}`];
    }
    case "NewExpression":
      return [`new ${identifier(node.callee)}(${(node.arguments as Node[]).length === 0 ? "" : "..."})`];
    default:
      return [];
  }
}

function nameOf(node: Node, owner: Node | undefined): string {
  const names = [node.id, owner?.id, owner?.key, owner?.left].map(identifier);
  return names.find((name) => name !== "?") ?? "(anonymous)";
}
