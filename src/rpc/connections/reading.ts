/**
 * Stops reading from a connection between two pieces of at most 64 KiB, and starts it again.
 *
 * Node's HTTP/2 takes bytes from the socket's handle (libuv's stream) itself, so `socket.pause()` has no effect. The
 * handle's `readStop` works, but it is not a documented API: the handle is `socket._handle`, and Node may rename it.
 * The documented way is a Duplex between socket and session. It was rejected because each byte would then pass through
 * JavaScript twice.
 */
export interface ReadHandle {
  readStart(): unknown;
  readStop(): unknown;
}

/**
 * The handle for a Node without `readStop`. Reading goes on, so the kernel no longer slows the client down. Streams
 * still begin in their caller's part of a turn, and `maxSessionMemory` bounds what one connection holds.
 */
const ALWAYS_READING: ReadHandle = Object.freeze({ readStart: () => {}, readStop: () => {} });

/** The handle of a socket of node:net or node:tls. */
export function readHandleOf(socket: object): ReadHandle {
  const { _handle: handle } = socket as { readonly _handle?: Partial<ReadHandle> | null };
  const canStop = typeof handle?.readStop === "function" && typeof handle.readStart === "function";
  return canStop ? (handle as ReadHandle) : ALWAYS_READING;
}

/** The part of ReadTurns that a connection uses. */
interface Turns {
  begin(reading: Reading, task: () => void): void;
  note(reading: Reading, weight: number): void;
  stop(reading: Reading): void;
  close(reading: Reading): void;
}

/** The connections of one caller. */
export class Group {
  readonly name: string;
  readonly reading = new Set<Reading>();
  /** Connections that wait to be read, the longest waiting first. */
  readonly waiting = new Set<Reading>();
  /** The waiting connections on which no stream has begun. */
  readonly unread = new Set<Reading>();
  /** Streams that arrived after the caller had used its part of a turn, the oldest first. */
  arrived: [Reading, () => void][] = [];
  /** Number of connections, reading and waiting. */
  size = 0;
  /** The work of this turn, in short calls. */
  noted = 0;
  busyUntilTurn = 0;

  constructor(name: string) {
    this.name = name;
  }
}

/** One connection in the turns of reading. */
export class Reading {
  readonly connection: object;
  readonly handle: ReadHandle;
  readonly address: string;
  group: Group;
  /** The work of this turn, in short calls. */
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

  /** Begins a stream: immediately, or in a later turn if the caller has used its part of this one. */
  begin(task: () => void): void {
    this.#turns.begin(this, task);
  }

  /** Counts work that costs about as much as `weight` short calls. */
  note(weight: number): void {
    this.#turns.note(this, weight);
  }

  /** Stops reading in this turn. */
  stop(): void {
    this.#turns.stop(this);
  }

  close(): void {
    if (!this.isClosed) this.#turns.close(this);
  }
}
