/** A connection's handle, as node:net and node:tls have it: reading can be stopped between two pieces of at most 64 KiB. */
export interface ReadHandle {
  readStart(): unknown;
  readStop(): unknown;
}

/** What a connection asks of the one that gives turns: `read-turns.ts`. */
interface Turns {
  begin(reading: Reading, task: () => void): void;
  note(reading: Reading, weight: number): void;
  stop(reading: Reading): void;
  close(reading: Reading): void;
}

/** All connections of one caller. */
export class Group {
  readonly name: string;
  readonly reading = new Set<Reading>();
  /** The one that has waited for longest first. */
  readonly waiting = new Set<Reading>();
  /** Those of the waiting ones that have begun nothing yet. */
  readonly unread = new Set<Reading>();
  /** Streams that were read after the caller's part of a turn was used, the oldest first. */
  arrived: [Reading, () => void][] = [];
  /** Connections, read or waiting. */
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
  /** Whether no stream has begun on it. */
  isNew = true;
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

  /** Reads no more in this turn. */
  stop(): void {
    this.#turns.stop(this);
  }

  close(): void {
    if (!this.isClosed) this.#turns.close(this);
  }
}
