/** Headless Chromium, driven through a pipe by its DevTools protocol. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import { privateFolder } from "./child-process.ts";

export interface Page {
  /** The URLs that the page has asked for, in order. */
  readonly requests: readonly string[];
  /** The console's errors and warnings, uncaught errors, and violations of the page's Content-Security-Policy. */
  readonly faults: readonly string[];
  /** Runs an expression in the page, and returns its value. @throws Error if it throws */
  evaluate(expression: string): Promise<unknown>;
}

export interface Chromium extends AsyncDisposable {
  /** Opens a page in a tab of its own. */
  open(url: string): Promise<Page>;
}

/** The tool that these tests need, for `hasTools`. */
export const CHROMIUM = [["chromium", "--version"], "apt-get install chromium"] as const;

type Result = Readonly<Record<string, unknown>>;

/** A message of the DevTools protocol without an id. */
interface PageEvent {
  readonly method: string;
  // biome-ignore lint/suspicious/noExplicitAny: each method has parameters of its own
  readonly params: any;
}

/** @param program the program's name, such as `chromium` */
export function startChromium(program: string): Chromium {
  // A container has no sandbox for root, and the pages are the test's own.
  const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"];
  const profile = `--user-data-dir=${privateFolder("latchkey-chromium-")}`;
  const child = spawn(program, [...flags, profile], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
  const [commands, answers] = [child.stdio[3] as Writable, child.stdio[4] as Readable];
  const waiting = new Map<number, PromiseWithResolvers<Result>>();
  const listeners = new Map<unknown, (event: PageEvent) => void>();
  let asked = 0;
  let rest = "";
  answers.setEncoding("utf8").on("data", (chunk: string) => {
    const messages = (rest + chunk).split("\0");
    rest = messages.pop()!;
    for (const { id, result, error, sessionId, ...event } of messages.map((text) => JSON.parse(text))) {
      if (id === undefined) listeners.get(sessionId)?.(event);
      else if (error === undefined) waiting.get(id)?.resolve(result);
      else waiting.get(id)?.reject(new Error(error.message));
    }
  });
  const closed = once(child, "close");
  void closed.then(() => {
    for (const { reject } of waiting.values()) reject(new Error("Chromium has ended"));
  });
  const send = (method: string, params: object, sessionId?: string) => {
    const answer = Promise.withResolvers<Result>();
    waiting.set(++asked, answer);
    commands.write(`${JSON.stringify({ id: asked, method, params, sessionId })}\0`);
    return answer.promise;
  };
  return {
    async open(url) {
      const { targetId } = await send("Target.createTarget", { url: "about:blank" });
      const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
      const requests: string[] = [];
      const faults: string[] = [];
      listeners.set(sessionId, (event) => {
        if (event.method === "Network.requestWillBeSent") requests.push(event.params.request.url);
        const fault = faultOf(event);
        if (fault !== undefined) faults.push(fault);
      });
      for (const domain of ["Network", "Log", "Runtime"]) await send(`${domain}.enable`, {}, sessionId as string);
      await send("Page.navigate", { url }, sessionId as string);
      return {
        requests,
        faults,
        async evaluate(expression) {
          const params = { expression, returnByValue: true, awaitPromise: true };
          const told = await send("Runtime.evaluate", params, sessionId as string);
          if (told.exceptionDetails !== undefined) throw new Error(JSON.stringify(told.exceptionDetails));
          return (told.result as { readonly value?: unknown }).value;
        },
      };
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null) child.kill();
      await closed;
    },
  };
}

/** The fault that an event tells of, in words. */
function faultOf({ method, params }: PageEvent): string | undefined {
  if (method === "Runtime.exceptionThrown") return JSON.stringify(params.exceptionDetails);
  if (method === "Log.entryAdded" && ["error", "warning"].includes(params.entry.level)) return params.entry.text;
  if (method === "Runtime.consoleAPICalled" && ["error", "warning", "assert"].includes(params.type)) {
    return JSON.stringify(params.args);
  }
  return undefined;
}
