import type { Route } from "../routes.ts";
import type { PathTemplate } from "./path-template.ts";
import { type RestRoute, restRoute } from "./rest-route.ts";

/** The routes of one path template. */
export interface Resource {
  /** By HTTP method. HEAD has the route of GET. */
  readonly methods: ReadonlyMap<string, RestRoute>;
  /** The value of `Allow`. */
  readonly allow: string;
}

/** A resource that a path names, and the values of its template's variables as they stand in the path. */
export interface FoundResource {
  readonly resource: Resource;
  readonly values: readonly string[];
}

/** Maximum length of a path. The longest of the contract, with an id, has about 80 characters. */
const MAX_PATH_LENGTH = 1024;

/** A place in the tree of templates, one level for each segment. It has literals, or one variable, or neither. */
interface Node {
  readonly literals: Map<string, Node>;
  variable: Node | undefined;
  /** The resources that end here, by verb. A path that ends with a colon has the verb "", which no template has. */
  readonly resources: Map<string | undefined, GrowingResource>;
}

interface GrowingResource {
  readonly methods: Map<string, RestRoute>;
  allow: string;
}

/**
 * The paths of the contract as a tree. A path is compared as it came: `%6b` is no `k`, and `//` and `..` are segments
 * like any other. So a proxy that judges paths before this service sees the same path as the service.
 */
export class RestRoutes {
  readonly #root = newNode();

  /** @throws {Error} for a path that two RPCs have, or that two templates match */
  constructor(routes: Iterable<Route>) {
    for (const rpc of routes) {
      const route = restRoute(rpc);
      if (route !== undefined) this.#add(route);
    }
  }

  /** The resource of a path without query. The time is linear in the length of the path. */
  find(path: string): FoundResource | undefined {
    if (path.length > MAX_PATH_LENGTH) return undefined;
    const colon = path.lastIndexOf(":");
    const hasVerb = colon > path.lastIndexOf("/");
    const values: string[] = [];
    let node: Node | undefined = this.#root;
    for (const segment of (hasVerb ? path.slice(1, colon) : path.slice(1)).split("/")) {
      if (node.variable === undefined) {
        node = node.literals.get(segment);
      } else {
        values.push(segment);
        node = segment === "" ? undefined : node.variable;
      }
      if (node === undefined) return undefined;
    }
    const resource = node.resources.get(hasVerb ? path.slice(colon + 1) : undefined);
    return resource && { resource, values };
  }

  #add(route: RestRoute): void {
    const { template, httpMethod } = route;
    const resource = this.#resourceOf(template);
    const other = resource.methods.get(httpMethod);
    if (other !== undefined) {
      throw new Error(`${httpMethod} ${template.text} belongs to ${other.rpc.name} and to ${route.rpc.name}`);
    }
    resource.methods.set(httpMethod, route);
    if (httpMethod === "GET") resource.methods.set("HEAD", route);
    resource.allow = [...resource.methods.keys(), "OPTIONS"].join(", ");
  }

  #resourceOf({ text, segments, verb }: PathTemplate): GrowingResource {
    let node = this.#root;
    for (const segment of segments) {
      const isVariable = "variable" in segment;
      if (isVariable ? node.literals.size > 0 : node.variable !== undefined) {
        throw new Error(
          `${text} is ambiguous: another path has a variable where it has a text, or a text for a variable`,
        );
      }
      if (isVariable) {
        node.variable ??= newNode();
        node = node.variable;
      } else {
        const next: Node = node.literals.get(segment.literal) ?? newNode();
        node.literals.set(segment.literal, next);
        node = next;
      }
    }
    const resource = node.resources.get(verb) ?? { methods: new Map(), allow: "" };
    node.resources.set(verb, resource);
    return resource;
  }
}

function newNode(): Node {
  return { literals: new Map(), variable: undefined, resources: new Map() };
}
