import { Group, type ReadHandle, Reading } from "./reading.ts";

export interface ReadTurnsOptions {
  /** The caller that a connection belongs to, undefined while only its address is known. Is asked again and again. */
  readonly callerOf: (connection: object) => string | undefined;
  /** Runs when the present turn is over. Default: setImmediate, which comes before the next read. */
  readonly afterTurn?: (task: () => void) => void;
}

/**
 * What may begin of one caller's streams by a read, and once more of what was read before, while no other caller is busy:
 * together about 5 ms of work in a turn.
 */
const ALONE = 64;
/** The same of all callers together while several are: each has an equal part. */
const SHARED = 32;
const LEAST_PART = 4;
/** A caller is busy for this number of turns after its last stream. */
const BUSY_TURNS = 256;
/** How many connections that have begun nothing yet are read in a turn beside a caller's part, of each address. */
const NEW_IN_A_TURN = 4;
/** Below this number of streams a turn is not counted: its end costs a callback. */
const COUNTED_FROM = 16;

/**
 * Bounds how many streams of one caller begin in a turn of the event loop, on all its connections together. Node reads
 * each connection that has something to be read before anything else happens, and nothing bounds how many those are. Here
 * a caller that has used its part of a turn is read no further; its connections are read again in the next turns, in
 * turn. What is not read waits in the kernel: TCP's flow control slows that client down (back pressure), and no other.
 *
 * The grain is one read of at most 64 KiB. Streams of it that are beyond the caller's part wait here, as node made them,
 * and begin before anything more is read.
 */
export class ReadTurns {
  readonly #callerOf: (connection: object) => string | undefined;
  readonly #afterTurn: (task: () => void) => void;
  readonly #groups = new Map<string, Group>();
  /** Callers that were busy lately, the one that was busy last at the end. */
  readonly #busy = new Set<Group>();
  /** Callers with connections that wait to be read. */
  readonly #waiting = new Set<Group>();
  /** Connections of which something was noted since the last turn that was counted. */
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
   * A connection that is being read.
   *
   * @param address whom it belongs to until `callerOf` says more
   */
  open(connection: object, handle: ReadHandle, address: string): Reading {
    const reading = new Reading(this, connection, handle, address, this.#group(address));
    reading.group.reading.add(reading);
    return reading;
  }

  /** How many callers have connections. */
  get callers(): number {
    return this.#groups.size;
  }

  /** @internal by Reading alone */
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

  /** @internal by Reading alone */
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

  /** @internal by Reading alone */
  stop(reading: Reading): void {
    if (reading.group.reading.has(reading)) this.#stop(reading);
  }

  /** @internal by Reading alone */
  close(reading: Reading): void {
    reading.isClosed = true;
    reading.group.reading.delete(reading);
    reading.group.waiting.delete(reading);
    reading.group.unread.delete(reading);
    reading.group.size--;
    this.#forgetIfEmpty(reading.group);
  }

  /** The caller of this connection, as it is known by now, has used its part. */
  #overflow(reading: Reading): void {
    this.#identify(reading);
    const { group } = reading;
    if (group.noted < this.#part && group.arrived.length === 0) return;
    // Node's HTTP/2 starts reading by itself where it had stopped until a write was done.
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

  /** Begins what has been read already, and reads on when all of it has begun. */
  #goOn(group: Group): void {
    const due = group.arrived.splice(0, this.#part);
    for (const [reading, task] of due) {
      this.note(reading, 1);
      task();
    }
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

  /** A connection's caller becomes known by its first call, and may be another one later. */
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
   * A connection that has begun nothing yet shows its caller by its first stream: an honest client must not wait for all
   * that a hog of the same address has sent. Few are read in a turn, since each may bring a whole read.
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
