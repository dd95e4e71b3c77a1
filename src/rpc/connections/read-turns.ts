import { Group, type ReadHandle, Reading } from "./reading.ts";

export interface ReadTurnsOptions {
  /**
   * The caller of a connection, undefined while only its address is known. Called often, because the caller may change.
   */
  readonly callerOf: (connection: object) => string | undefined;
  /** Runs a task when the present turn is over. Default: setImmediate, which runs before the next read. */
  readonly afterTurn?: (task: () => void) => void;
}

/**
 * A caller's part of a turn while no other caller is busy: the maximum streams that begin as they are read. The same
 * maximum holds for streams that were read in an earlier turn. Both together are about 5 ms of work.
 */
const ALONE = 64;
/** The part of all callers together while several are busy. Each has an equal part of it, at least LEAST_PART. */
const SHARED = 32;
const LEAST_PART = 4;
/** A caller is busy for this number of turns after its last stream. */
const BUSY_TURNS = 256;
/** Maximum connections of one address, without a stream so far, that are read in a turn beyond the address's part. */
const NEW_IN_A_TURN = 4;
/** A turn with fewer streams is not counted, because its end would cost a callback. */
const COUNTED_FROM = 16;

/**
 * Bounds the streams of one caller that begin in a turn of the event loop, on all its connections together. Node reads
 * every connection that has bytes before anything else happens, and does not bound their number. Here a caller that has
 * used its part of a turn is not read further. The next turns read its connections again, in turn (round robin). Unread
 * bytes wait in the kernel, so TCP's flow control slows down this client and no other (back pressure).
 *
 * The smallest unit is one read of at most 64 KiB from a connection. Streams beyond the caller's part wait here, and
 * begin before anything more of this caller is read.
 */
export class ReadTurns {
  readonly #callerOf: (connection: object) => string | undefined;
  readonly #afterTurn: (task: () => void) => void;
  readonly #groups = new Map<string, Group>();
  /** Callers that were busy within BUSY_TURNS, the latest one at the end. */
  readonly #busy = new Set<Group>();
  /** Callers with connections that wait to be read. */
  readonly #waiting = new Set<Group>();
  /** Connections with streams since the last counted turn. */
  #touched: Reading[] = [];
  #noted = 0;
  #turn = 0;
  #part = ALONE;
  #willEnd = false;
  readonly #end = () => this.#endTurn();

  constructor({ callerOf, afterTurn = setImmediate }: ReadTurnsOptions) {
    this.#callerOf = callerOf;
    this.#afterTurn = afterTurn;
  }

  /**
   * Adds a connection that is being read.
   *
   * @param address stands for the caller until `callerOf` knows it
   */
  open(connection: object, handle: ReadHandle, address: string): Reading {
    const reading = new Reading(this, connection, handle, address, this.#group(address));
    reading.group.reading.add(reading);
    return reading;
  }

  /** Number of callers with connections. */
  get callers(): number {
    return this.#groups.size;
  }

  /** @internal only for Reading */
  note(reading: Reading, weight: number): void {
    if (reading.noted === 0) {
      this.#touched.push(reading);
      if (reading.group.name === reading.address) this.#identify(reading);
    }
    const { group } = reading;
    reading.noted += weight;
    group.noted += weight;
    this.#noted += weight;
    if (this.#noted >= COUNTED_FROM) this.#endLater();
    if (group.noted >= this.#part) this.#overflow(reading);
  }

  /** @internal only for Reading */
  begin(reading: Reading, task: () => void): void {
    if (reading.noted === 0 && reading.group.name === reading.address) this.#identify(reading);
    const { arrived } = reading.group;
    const isFirst = reading.isNew;
    reading.isNew = false;
    if (isFirst || (arrived.length === 0 && reading.group.noted < this.#part)) {
      this.note(reading, 1);
      task();
    } else {
      arrived.push([reading, task]);
      this.#waiting.add(reading.group);
      this.#overflow(reading);
      this.#endLater();
    }
  }

  /** @internal only for Reading */
  stop(reading: Reading): void {
    if (reading.group.reading.has(reading)) this.#stop(reading);
  }

  /** @internal only for Reading */
  close(reading: Reading): void {
    reading.isClosed = true;
    reading.group.reading.delete(reading);
    reading.group.waiting.delete(reading);
    reading.group.unread.delete(reading);
    reading.group.size--;
    this.#forgetIfEmpty(reading.group);
  }

  /** Stops reading for this connection's caller if it has used its part. Identifies the caller first. */
  #overflow(reading: Reading): void {
    this.#identify(reading);
    const { group } = reading;
    if (group.noted < this.#part && group.arrived.length === 0) return;
    // Node's HTTP/2 starts reading again by itself after it had stopped for a write.
    if (!group.reading.has(reading)) reading.handle.readStop();
    for (const each of group.reading) {
      this.#identify(each);
      if (each.group === group) this.#stop(each);
    }
  }

  #stop(reading: Reading): void {
    reading.group.reading.delete(reading);
    reading.handle.readStop();
    this.#wait(reading);
  }

  #wait(reading: Reading): void {
    reading.group.waiting.add(reading);
    if (reading.isNew) reading.group.unread.add(reading);
    this.#waiting.add(reading.group);
    this.#endLater();
  }

  #endLater(): void {
    if (this.#willEnd) return;
    this.#willEnd = true;
    this.#afterTurn(this.#end);
  }

  #endTurn(): void {
    this.#willEnd = false;
    this.#turn++;
    this.#noted = 0;
    const touched = this.#touched;
    this.#touched = [];
    for (const reading of touched) this.#settle(reading);
    this.#part = this.#partOfEach();
    for (const group of this.#waiting) this.#goOn(group);
    if (this.#waiting.size > 0) this.#endLater();
  }

  /** Begins streams that were read before, and reads on when all of them have begun. */
  #goOn(group: Group): void {
    let begun = 0;
    // A task may note that it costs more than one short call, and for another caller.
    const most = this.#noted + this.#part;
    while (begun < group.arrived.length && this.#noted < most) {
      const [reading, task] = group.arrived[begun++]!;
      this.note(reading, 1);
      task();
    }
    group.arrived.splice(0, begun);
    this.#readNew(group);
    if (group.noted < this.#part && group.arrived.length === 0) this.#readNext(group);
    this.#forgetIfEmpty(group);
  }

  #settle(reading: Reading): void {
    this.#identify(reading);
    const { group } = reading;
    reading.noted = 0;
    group.noted = 0;
    if (reading.isClosed) return;
    group.busyUntilTurn = this.#turn + BUSY_TURNS;
    this.#busy.delete(group);
    this.#busy.add(group);
  }

  /** Moves the connection to its caller. The first call shows the caller, and later calls may show another. */
  #identify(reading: Reading): void {
    if (reading.isClosed) return;
    const name = this.#callerOf(reading.connection) ?? reading.address;
    if (name !== reading.group.name) this.#move(reading, this.#group(name));
  }

  #move(reading: Reading, to: Group): void {
    const from = reading.group;
    reading.group = to;
    from.noted -= reading.noted;
    to.noted += reading.noted;
    if (from.reading.delete(reading)) to.reading.add(reading);
    from.unread.delete(reading);
    if (from.waiting.delete(reading)) this.#wait(reading);
    from.size--;
    to.size++;
    this.#forgetIfEmpty(from);
  }

  #partOfEach(): number {
    for (const group of this.#busy) {
      if (group.busyUntilTurn > this.#turn) break;
      this.#busy.delete(group);
    }
    return this.#busy.size > 1 ? Math.max(LEAST_PART, Math.floor(SHARED / this.#busy.size)) : ALONE;
  }

  /**
   * Reads up to NEW_IN_A_TURN connections on which no stream has begun, because the first stream shows the caller. An
   * honest client must not wait for everything that a greedy client of the same address has sent. The number is small,
   * because each connection may bring 64 KiB.
   */
  #readNew(group: Group): void {
    let left = NEW_IN_A_TURN;
    for (const reading of group.unread) {
      if (left-- === 0) return;
      group.unread.delete(reading);
      if (group.waiting.delete(reading)) this.#read(reading);
    }
  }

  #read(reading: Reading): void {
    reading.group.reading.add(reading);
    reading.handle.readStart();
  }

  #readNext(group: Group): void {
    let left = this.#part - group.noted;
    for (const reading of group.waiting) {
      if (left-- <= 0) return;
      group.waiting.delete(reading);
      this.#read(reading);
    }
    this.#waiting.delete(group);
  }

  #group(name: string): Group {
    let group = this.#groups.get(name);
    if (group === undefined) {
      group = new Group(name);
      this.#groups.set(name, group);
    }
    return group;
  }

  #forgetIfEmpty(group: Group): void {
    if (group.size > 0 || group.arrived.length > 0) return;
    this.#groups.delete(group.name);
    this.#waiting.delete(group);
    this.#busy.delete(group);
  }
}
