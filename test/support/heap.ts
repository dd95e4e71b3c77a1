/** The heap of a process that the test started, through Node's inspector (Chrome DevTools Protocol). */
import type { SpawnedService } from "./spawned-service.ts";

/** Bytes in use after a garbage collection. The service must have been started with `--inspect`. */
export async function heapBytes(service: Pick<SpawnedService, "output">): Promise<number> {
  await using inspector = await openInspector(service);
  await inspector.command("HeapProfiler.collectGarbage");
  return ((await inspector.command("Runtime.getHeapUsage")) as { usedSize: number }).usedSize;
}

/** V8's heap snapshot of all live objects after a garbage collection, including their texts. */
export async function heapSnapshot(service: Pick<SpawnedService, "output">): Promise<string> {
  await using inspector = await openInspector(service);
  await inspector.command("HeapProfiler.collectGarbage");
  await inspector.command("HeapProfiler.takeHeapSnapshot");
  return inspector.chunks.join("");
}

async function openInspector(service: Pick<SpawnedService, "output">) {
  const url = /ws:\/\/[\w.:/-]+/.exec(service.output())?.[0];
  if (url === undefined) throw new Error("the service was not started with --inspect");
  const socket = new WebSocket(url);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error("no inspector there"));
  });
  const chunks: string[] = [];
  const answers = new Map<number, (result: unknown) => void>();
  const gone = Promise.withResolvers<never>();
  gone.promise.catch(() => {});
  socket.onclose = () => gone.reject(new Error("the inspector is gone"));
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(String(data)) as { id?: number; result?: unknown; params?: { chunk?: string } };
    if (message.params?.chunk !== undefined) chunks.push(message.params.chunk);
    if (message.id !== undefined) answers.get(message.id)?.(message.result);
  };
  let last = 0;
  return {
    /** The text of the last heap snapshot. */
    chunks: chunks as readonly string[],
    command(method: string): Promise<unknown> {
      const id = ++last;
      const answer = new Promise((resolve) => answers.set(id, resolve));
      socket.send(JSON.stringify({ id, method }));
      return Promise.race([answer, gone.promise]);
    },
    async [Symbol.asyncDispose]() {
      socket.close();
    },
  };
}
