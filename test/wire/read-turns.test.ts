import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { TLSSocket } from "node:tls";
import { describe, expect, it, onTestFinished } from "vitest";
import { ReadTurns } from "../../src/rpc/connections/read-turns.ts";
import { type Reading, readHandleOf } from "../../src/rpc/connections/reading.ts";

/** Connections whose handles only record whether they are read, and turns that end when the test ends them. */
class Lab {
  readonly names = new Map<object, string>();
  readonly #ends: (() => void)[] = [];
  readonly #reads = new Map<Reading, { isRead: boolean }>();
  readonly turns = new ReadTurns({
    callerOf: (connection) => this.names.get(connection),
    afterTurn: (task) => this.#ends.push(task),
  });

  open(address = "an address"): Reading {
    const state = { isRead: true };
    const handle = {
      readStart: () => {
        state.isRead = true;
      },
      readStop: () => {
        state.isRead = false;
      },
    };
    const reading = this.turns.open({}, handle, address);
    this.#reads.set(reading, state);
    return reading;
  }

  openMany(count: number, caller: string): Reading[] {
    const all = Array.from({ length: count }, () => this.open());
    for (const { connection } of all) this.names.set(connection, caller);
    // Each begins one stream, over some turns, so that the server knows the caller.
    for (const reading of all) {
      reading.begin(() => {});
      if (this.turnsAreDue) this.endTurn();
    }
    this.settle();
    return all;
  }

  get turnsAreDue(): boolean {
    return this.#ends.length > 0;
  }

  endTurn(): void {
    for (const end of this.#ends.splice(0)) end();
  }

  settle(): void {
    for (let turn = 0; this.turnsAreDue; turn++) {
      expect(turn).toBeLessThan(10_000);
      this.endTurn();
    }
  }

  isRead(reading: Reading): boolean {
    return this.#reads.get(reading)!.isRead;
  }

  countRead(all: readonly Reading[]): number {
    return all.filter((reading) => this.isRead(reading)).length;
  }
}

describe("the reads of a turn", () => {
  it("go on for a caller that begins few streams, without a wait for the end of the turn", () => {
    const lab = new Lab();
    const reading = lab.open();
    for (let n = 0; n < 15; n++) reading.note(1);
    expect([lab.isRead(reading), lab.turnsAreDue]).toEqual([true, false]);
  });

  it("stop for all connections of a caller that has used its part, and for no other caller", () => {
    const lab = new Lab();
    const hog = lab.openMany(48, "hog");
    const [other] = lab.openMany(1, "other");
    hog[0]!.note(200);
    expect(lab.countRead(hog)).toBe(0);
    expect(lab.isRead(other!)).toBe(true);
  });

  it("begin again in the next turns, for more connections in each, until all are read again", () => {
    const lab = new Lab();
    const hog = lab.openMany(50, "hog");
    lab.openMany(1, "other")[0]!.note(16);
    lab.settle();
    hog[0]!.note(100);
    const read: number[] = [];
    while (lab.turnsAreDue) {
      lab.endTurn();
      read.push(lab.countRead(hog));
    }
    expect(read).toEqual([16, 32, 48, 50]);
  });

  it("serve another connection in each turn when every read brings too many streams", () => {
    const lab = new Lab();
    const hog = lab.openMany(40, "hog");
    hog[0]!.note(200);
    const served = new Set<Reading>();
    for (let turn = 0; turn < 40; turn++) {
      lab.endTurn();
      const next =
        hog.find((reading) => lab.isRead(reading) && !served.has(reading)) ?? hog.find(lab.isRead.bind(lab))!;
      served.add(next);
      next.note(200);
    }
    expect(served.size).toBe(40);
  });

  it("give a lone caller a larger part than a caller among others", () => {
    const lab = new Lab();
    const [alone] = lab.openMany(1, "one");
    alone!.note(50);
    expect(lab.isRead(alone!)).toBe(true);
    lab.settle();
    lab.openMany(1, "two")[0]!.note(16);
    lab.settle();
    alone!.note(50);
    expect(lab.isRead(alone!)).toBe(false);
  });

  it("count connections of an unknown caller by their address", () => {
    const lab = new Lab();
    const [first, second] = [lab.open("a"), lab.open("a")];
    const other = lab.open("b");
    first.note(200);
    expect([lab.isRead(first), lab.isRead(second), lab.isRead(other)]).toEqual([false, false, true]);
  });

  it("go on once all streams that were read have begun, a part in each turn, even if the caller has changed meanwhile", () => {
    const lab = new Lab();
    const hog = lab.open();
    lab.names.set(hog.connection, "hog");
    const begun: number[] = [];
    for (let n = 0; n < 150; n++) hog.begin(() => begun.push(n));
    const after: [number, boolean][] = [[begun.length, lab.isRead(hog)]];
    lab.names.set(hog.connection, "another");
    while (lab.turnsAreDue) {
      lab.endTurn();
      after.push([begun.length, lab.isRead(hog)]);
    }
    expect(after.slice(0, 3)).toEqual([
      [64, false],
      [128, false],
      [150, true],
    ]);
    expect(after.at(-1)).toEqual([150, true]);
    expect(begun).toEqual(Array.from({ length: 150 }, (_, n) => n));
    hog.close();
    expect(lab.turns.callers).toBe(0);
  });

  it("stop only after the caller of a connection was looked up", () => {
    const lab = new Lab();
    const [hog, other] = [lab.open(), lab.open()];
    lab.names.set(other.connection, "other");
    hog.note(200);
    expect([lab.isRead(hog), lab.isRead(other)]).toEqual([false, true]);
    lab.names.set(hog.connection, "hog");
    lab.settle();
    expect([lab.isRead(hog), lab.turns.callers]).toEqual([true, 2]);
  });

  it("stop for one connection alone until the next turn when its owner asks for it", () => {
    const lab = new Lab();
    const [dear, other] = [lab.open(), lab.open()];
    dear.stop();
    expect([lab.isRead(dear), lab.isRead(other)]).toEqual([false, true]);
    lab.endTurn();
    expect(lab.isRead(dear)).toBe(true);
  });

  it("let a new connection begin its first stream before the waiting streams of a hog at the same address", () => {
    const lab = new Lab();
    const hog = lab.open();
    for (let n = 0; n < 1000; n++) hog.begin(() => {});
    const stopped = lab.open();
    hog.begin(() => {});
    expect(lab.isRead(stopped)).toBe(false);
    lab.endTurn();
    expect([lab.isRead(stopped), lab.isRead(hog)]).toEqual([true, false]);
    let begun = 0;
    for (let n = 0; n < 2; n++) stopped.begin(() => begun++);
    expect(begun).toBe(1);
  });

  it("stop again if node has started them by itself", () => {
    const lab = new Lab();
    const reading = lab.open();
    reading.note(200);
    reading.handle.readStart();
    reading.note(1);
    expect(lab.isRead(reading)).toBe(false);
  });

  it("remember nothing of closed connections, including those that waited", () => {
    const lab = new Lab();
    const all = lab.openMany(10, "hog");
    all[1]!.note(200);
    for (const reading of all) reading.close();
    lab.settle();
    expect([lab.turns.callers, lab.turnsAreDue]).toEqual([0, false]);
  });
});

describe("the handle that stops a connection's reads", () => {
  it("is the socket's own in this version of Node, for plaintext and for TLS", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    onTestFinished(() => void server.close());
    await once(server, "listening");
    const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
    onTestFinished(() => void socket.destroy());
    await once(socket, "connect");
    for (const each of [socket, new TLSSocket(socket)]) {
      expect(readHandleOf(each)).toBe((each as unknown as { _handle: unknown })._handle);
    }
  });

  it.each([
    ["no handle", {}],
    ["a closed handle", { _handle: null }],
    ["a handle without readStop", { _handle: { readStart: () => {} } }],
  ])("is missing for a socket with %s, and its streams still begin in their turns", (_, socket) => {
    const ends: (() => void)[] = [];
    const turns = new ReadTurns({ callerOf: () => "hog", afterTurn: (task) => ends.push(task) });
    const reading = turns.open({}, readHandleOf(socket), "an address");
    const begun: number[] = [];
    for (let n = 0; n < 150; n++) reading.begin(() => begun.push(n));
    const after = [begun.length];
    while (ends.length > 0) {
      for (const end of ends.splice(0)) end();
      after.push(begun.length);
    }
    expect(after.slice(0, 3)).toEqual([64, 128, 150]);
  });
});
