/**
 * A probe inside a service, loaded by `--import`: the longest turn of its event loop by the CPU time of its thread. So
 * its figures don't include what other processes take from the core. `longest-turn.ts` asks it.
 *
 * It listens in Linux' abstract namespace of sockets, so there is no file to remove. Each connection sends an order and
 * gets the longest turn since the last one, in microseconds. The kernel counts CPU time in ticks of 1 to 4 ms.
 */
import { createServer } from "node:net";

/** A timer of 1 ms is due in the turn after every longer one, so a figure has at most 1 ms of other turns. */
const EACH_MS = 1;

let longestUs = 0;
let before = process.threadCpuUsage();

setInterval(() => {
  const now = process.threadCpuUsage();
  longestUs = Math.max(longestUs, now.user - before.user + (now.system - before.system));
  before = now;
}, EACH_MS).unref();

const server = createServer((socket) => {
  socket.on("error", () => {});
  socket.once("data", (order) => {
    const us = longestUs;
    longestUs = 0;
    const [kind, ms] = order.toString().split(" ");
    if (kind === "burn") burn(Number(ms));
    if (kind === "sleep") Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(ms));
    socket.end(String(us));
  });
});
server.listen(`\0latchkey-turns-${process.pid}`).unref();

/** Computes for this CPU time, in one turn: a hog that the probe must see. */
function burn(ms: number): void {
  const begun = process.threadCpuUsage();
  for (;;) {
    const { user, system } = process.threadCpuUsage(begun);
    if (user + system >= ms * 1000) return;
  }
}
