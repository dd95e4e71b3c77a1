/** A TCP proxy on loopback that can cut, hang or slow connections, for faults that no signal to a server can make. */
import { connect, createServer, type Server, type Socket } from "node:net";
import { withFreePort } from "./child-process.ts";

export interface FaultProxy extends AsyncDisposable {
  readonly port: number;
  /** Resets all connections and refuses new ones. */
  cut(): Promise<void>;
  /** Resets all connections and accepts new ones. */
  reset(): void;
  /** Refuses new connections; those that are open go on. */
  refuse(): void;
  /** Resets all connections, and leads new ones to another port, as a failover behind one name does. */
  lead(port: number): void;
  /** Leads new connections to another port; those that are open go on, as after a failover without fencing. */
  leadNew(port: number): void;
  /** Accepts connections and passes nothing, not even their end. With `answers` it passes questions and no answers. */
  hang(what?: "everything" | "answers"): void;
  /** Passes at most this many bytes every 10 ms on each connection, in each direction. */
  trickle(bytes: number): void;
  /** Passes every byte `ms` later, in each direction. */
  delay(ms: number): void;
  /**
   * Loses the answer to one question. After a connection has sent these texts, in this order, it gets no more bytes.
   * @returns a promise that resolves when this has happened to one connection; other answers are not lost
   */
  loseAnswerTo(...sent: readonly string[]): Promise<void>;
  /** Passes everything again, beginning with the bytes that were held back. */
  restore(): Promise<void>;
  /** All bytes that clients have sent so far: one buffer for each connection, in the order of acceptance. */
  sent(): readonly Buffer[];
  /** Number of accepted connections so far. It shows that a client really came through the proxy. */
  accepted(): number;
  /** Number of accepted connections that their client has ended or reset so far. */
  left(): number;
  stop(): Promise<void>;
}

type Mode =
  | { readonly kind: "pass"; readonly delayMs: number; readonly bytesPerTick: number }
  | { readonly kind: "hang"; readonly what: "everything" | "answers" };

interface Losing {
  readonly texts: readonly string[];
  readonly happened: () => void;
}

const PASSING: Mode & { readonly kind: "pass" } = { kind: "pass", delayMs: 0, bytesPerTick: Number.POSITIVE_INFINITY };
const HUNG: Mode = { kind: "hang", what: "everything" };
const TICK_MS = 10;

/** One direction of a connection. */
interface Pipe {
  /** Passes the bytes that are due. */
  pump(): void;
}

/** Chunks held back in one direction before the proxy stops reading, as a full network would. */
const MOST_CHUNKS = 64;

/** @param records whether the proxy remembers bytes for `sent()`, which would fill the memory in a long test */
export function startFaultProxy(targetPort: number, records = false): Promise<FaultProxy> {
  return withFreePort(async (port) => {
    let mode: Mode = PASSING;
    let accepted = 0;
    let left = 0;
    let upstreamPort = targetPort;
    const sockets = new Set<Socket>();
    const pipes = new Set<Pipe>();
    let losing: Losing | undefined;
    const sent: Buffer[][] = [];

    const server = createServer({ allowHalfOpen: true }, (client) => {
      accepted++;
      const upstream = connect({ port: upstreamPort, host: "127.0.0.1", allowHalfOpen: true });
      let isLost = false;
      let asked = "";
      const mine: Buffer[] = [];
      if (records) sent.push(mine);
      let hasLeft = false;
      const leave = () => {
        if (!hasLeft) left++;
        hasLeft = true;
      };
      client.once("end", leave).once("close", leave);
      client.on("data", (chunk: Buffer) => {
        if (records) mine.push(chunk);
        if (losing === undefined) return;
        asked += chunk.toString("latin1");
        if (!hasAll(asked, losing.texts)) return;
        isLost = true;
        losing.happened();
        losing = undefined;
      });
      const back = () => (isLost ? HUNG : mode);
      const there = () => (mode.kind === "hang" && mode.what === "answers" ? PASSING : mode);
      const both = [pipe(client, upstream, there), pipe(upstream, client, back)];
      for (const each of both) pipes.add(each);
      for (const socket of [client, upstream]) {
        socket.setNoDelay(true);
        sockets.add(socket);
        socket.on("close", () => {
          sockets.delete(socket);
          if (client.destroyed && upstream.destroyed) for (const each of both) pipes.delete(each);
        });
      }
    });
    function change(next: Mode): void {
      mode = next;
      for (const each of pipes) each.pump();
    }
    function reset(): void {
      for (const socket of sockets) socket.resetAndDestroy();
    }
    async function cut(): Promise<void> {
      const closed = close(server);
      reset();
      await closed;
    }

    await listen(server, port);
    return {
      port,
      cut,
      reset,
      refuse: () => void close(server),
      lead: (target) => {
        upstreamPort = target;
        reset();
      },
      leadNew: (target) => {
        upstreamPort = target;
      },
      hang: (what = "everything") => change({ kind: "hang", what }),
      trickle: (bytes) => change({ kind: "pass", delayMs: 0, bytesPerTick: bytes }),
      delay: (ms) => change({ ...PASSING, delayMs: ms }),
      loseAnswerTo: (...sent) =>
        new Promise((happened) => {
          losing = { texts: sent, happened };
        }),
      restore: async () => {
        change(PASSING);
        if (!server.listening) await listen(server, port);
      },
      sent: () => sent.map((chunks) => Buffer.concat(chunks)),
      accepted: () => accepted,
      left: () => left,
      stop: cut,
      [Symbol.asyncDispose]: cut,
    };
  });
}

function tickOf({ bytesPerTick }: { readonly bytesPerTick: number }): number {
  return bytesPerTick === Number.POSITIVE_INFINITY ? 0 : TICK_MS;
}

function hasAll(text: string, parts: readonly string[]): boolean {
  let at = 0;
  for (const part of parts) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return true;
}

function pipe(from: Socket, to: Socket, mode: () => Mode): Pipe {
  /** In order of arrival; an undefined chunk is the end of the stream. */
  const queue: { readonly chunk: Buffer | undefined; readonly atMs: number }[] = [];
  let timer: NodeJS.Timeout | undefined;
  let isBroken = false;
  let passedAtMs = 0;

  function pump(): void {
    clearTimeout(timer);
    const now = mode();
    if (now.kind === "hang") return;
    while (queue.length > 0) {
      const waitMs = Math.max(queue[0]!.atMs + now.delayMs, passedAtMs + tickOf(now)) - performance.now();
      if (waitMs > 0) {
        timer = setTimeout(pump, Math.ceil(waitMs));
        return;
      }
      const { chunk: whole, atMs } = queue.shift()!;
      const chunk = whole?.subarray(0, now.bytesPerTick);
      if (whole !== undefined && chunk!.length < whole.length) {
        queue.unshift({ chunk: whole.subarray(chunk!.length), atMs });
      }
      passedAtMs = performance.now();
      if (chunk === undefined) to.end();
      else if (!to.destroyed) to.write(chunk);
    }
    if (isBroken) to.resetAndDestroy();
    else from.resume();
  }
  function hold(chunk: Buffer | undefined): void {
    queue.push({ chunk, atMs: performance.now() });
    if (queue.length >= MOST_CHUNKS) from.pause();
    pump();
  }
  from.on("data", hold);
  from.on("end", () => hold(undefined));
  from.on("error", () => {});
  from.on("close", () => {
    isBroken = !from.readableEnded;
    pump();
  });
  return { pump };
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
