/** What a process of ours keeps in its heap, asked through Node's inspector (Chrome DevTools Protocol). */
import type { ServiceProcess } from "./service-process.ts";

/** Bytes that are still in use after a garbage collection, of a service that was started with `--inspect`. */
export async function heapBytes(service: ServiceProcess): Promise<number> {
  const url = /ws:\/\/[\w.:/-]+/.exec(service.output())?.[0];
  if (url === undefined) throw new Error("the service was not started with --inspect");
  const socket = new WebSocket(url);
  try {
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = () => reject(new Error("no inspector there"));
    });
    await command(socket, 1, "HeapProfiler.collectGarbage");
    return ((await command(socket, 2, "Runtime.getHeapUsage")) as { usedSize: number }).usedSize;
  } finally {
    socket.close();
  }
}

function command(socket: WebSocket, id: number, method: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    socket.onclose = () => reject(new Error("the inspector is gone"));
    socket.onmessage = ({ data }) => {
      const answer = JSON.parse(String(data)) as { id?: number; result?: unknown };
      if (answer.id === id) resolve(answer.result);
    };
    socket.send(JSON.stringify({ id, method }));
  });
}
