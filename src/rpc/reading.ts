/** A connection's handle, as node:net and node:tls have it: reading can be stopped between two pieces of at most 64 KiB. */
export interface ReadHandle {
  readStart(): unknown;
  readStop(): unknown;
}

/** What a connection asks of the one that gives turns: `read-turns.ts`. */
interface Turns {
  begin(reading: Reading, task: () => void): void;
  note(reading: Reading, weight: number): void;
  hold(reading: Reading): void;
  release(reading: Reading): void;
  close(reading: Reading): void;
}

/** All connections of one caller. */
export class Group {
  readonly name: string;
  readonly reading = new Set<Reading>();
  /** The one that has waited for longest first. */
  readonly waiting = new Set<Reading>();
  /** Streams that were read after the caller's part of a turn was used, the oldest first. */
  arrived: [Reading, () => void][] = [];
  /** Those that are held are in neither set. */
  size = 0;
  noted = 0;
  busyUntilTurn = 0;

  constructor(name: string) {
    this.name = name;
  }
}

/** One connection. */
export class Reading {
  readonly connection: object;
  readonly handle: ReadHandle;
  readonly address: string;
  group: Group;
  noted = 0;
  holds = 0;
  isClosed = false;
  readonly #turns: Turns;

  constructor(turns: Turns, connection: object, handle: ReadHandle, address: string, group: Group) {
    this.#turns = turns;
    this.connection = connection;
    this.handle = handle;
    this.address = address;
    this.group = group;
    group.size++;
  }

  /** Begins a stream: at once, or in one of the next turns where the caller has used its part of this one. */
  begin(task: () => void): void {
    this.#turns.begin(this, task);
  }

  /** Something has begun that costs about as much as this number of short calls. */
  note(weight: number): void {
    this.#turns.note(this, weight);
  }

  /** Is not read until `release` was called as often as this. */
  hold(): void {
    this.#turns.hold(this);
  }

  release(): void {
    this.#turns.release(this);
  }

  close(): void {
    if (!this.isClosed) this.#turns.close(this);
  }
}
