import type { IncomingMessage, ServerResponse } from "node:http";
import { decisionFields, httpAnswer } from "../../src/answers/http-answer.ts";
import type { HeaderValues } from "../../src/answers/presented-credential.ts";
import { httpMethod } from "../../src/answers/request-facts.ts";
import type { RealmGuard } from "./guards.ts";
import type { Found, RequestFacts } from "./protect.ts";

/** A request that remembers what was found about it. */
export interface Remembering {
  /** The facts that @latchkey/client found about this request. */
  latchkey?: Found;
}

/** Headers as they came, repeated ones apart. */
export function rawHeaderValues(rawHeaders: readonly string[]): HeaderValues {
  return (name) => rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]!.toLowerCase() === name);
}

/** @param target the request's path, before a framework has cut something off it */
export function nodeFacts(request: IncomingMessage, target: string, address: string | undefined): RequestFacts {
  const { rawHeaders, method = "" } = request;
  return { values: rawHeaderValues(rawHeaders), address, method: httpMethod(method, target) };
}

/** Asks the guard, and writes the answer to a request that is refused. @returns whether to serve the request */
export async function admitNode<R extends Remembering>(
  { guard, realm }: RealmGuard<R>,
  request: R,
  facts: RequestFacts,
  response: ServerResponse,
): Promise<boolean> {
  const { decision, found } = await guard(request, facts, request.latchkey);
  if (decision.admitted) {
    request.latchkey = found;
    for (const [name, value] of decisionFields(decision, realm)) response.setHeader(name, value);
    return true;
  }
  const { status, headers, body } = httpAnswer(decision, realm);
  response.statusCode = status;
  for (const [name, value] of headers) response.setHeader(name, value);
  response.end(body);
  return false;
}
