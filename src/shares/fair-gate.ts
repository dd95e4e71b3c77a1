import { type Listed, OldestFirst } from "../lib/oldest-first.ts";
import { FairRoom, type Member } from "./fair-room.ts";
import type { Holder } from "./holder.ts";

export interface FairGateOptions {
  /** Places: how many may be inside at once. */
  readonly places: number;
  /** Most places of one group, by its names from the widest on, such as `["known", "usr_1"]`. */
  readonly mostPlaces: (group: readonly string[]) => number;
  /** Most that wait in one group, named in the same way. */
  readonly mostWaiting: (group: readonly string[]) => number;
  /** Most that wait in all. With more the group that has most waiting gives way, as FairRoom says. */
  readonly queue: number;
}

/** One that wants to enter. */
export interface GateGuest {
  /** Is called once when there is a place: within `enter`, or later when another leaves. */
  onEnter(): void;
  /** Is called when a waiting guest has to make room in the queue; it waits no longer then. */
  onGiveWay(): void;
}

/**
 * A bounded semaphore that is fair by holder: places go to waiting groups in turn (round robin) at each level, and within
 * the narrowest group to the one that came first.
 *
 * Holds at every moment: at most `places` are inside; no group has more than its `mostPlaces`; and nothing waits while
 * there is a place that it may have.
 */
export class FairGate {
  readonly #options: FairGateOptions;
  readonly #root: Group;
  readonly #queue: FairRoom<QueueMember>;

  constructor(options: FairGateOptions) {
    this.#options = options;
    this.#root = new Group(undefined, "", options.places, Number.POSITIVE_INFINITY);
    this.#queue = new FairRoom({ places: options.queue, onGiveWay: ({ pass }) => pass.giveWay() });
  }

  /** How many are inside. */
  get inside(): number {
    return this.#root.inside;
  }

  get waiting(): number {
    return this.#root.waiting;
  }

  /**
   * Enters at once, or waits.
   *
   * @param isUnderWay whether the guest may wait beyond `mostWaiting`: it goes on with what was let in before
   * @returns undefined where no more may wait: the guest is not kept, and is never called
   */
  enter(holder: Holder, guest: GateGuest, isUnderWay = false): GatePass | undefined {
    const groups = this.#groupsOf(holder);
    const group = groups.at(-1)!;
    const mayEnter = [this.#root, ...groups].every((each) => each.hasPlace);
    const pass = new GatePass(this, group, guest);
    const isRefused = !isUnderWay && groups.some((each) => each.isFull);
    if (!mayEnter && (isRefused || !this.#queue.enter(holder, pass.queued))) {
      this.#forgetIdle(group);
      return undefined;
    }
    group.add(pass);
    this.#serve();
    return pass;
  }

  /** @internal by GatePass alone */
  leave(pass: GatePass): void {
    const { group } = pass;
    this.#queue.leave(pass.queued);
    if (pass.isInside) group.countInside(-1);
    else group.remove(pass);
    this.#forgetIdle(group);
    this.#serve();
  }

  #serve(): void {
    while (this.#root.isEligible) {
      const pass = this.#root.takeNext();
      this.#queue.leave(pass.queued);
      pass.begin();
    }
  }

  #groupsOf(names: Holder): Group[] {
    let group = this.#root;
    return names.map((name, at) => {
      let child = group.children.get(name);
      if (child === undefined) {
        const path = names.slice(0, at + 1);
        child = new Group(group, name, this.#options.mostPlaces(path), this.#options.mostWaiting(path));
        group.children.set(name, child);
      }
      group = child;
      return child;
    });
  }

  #forgetIdle(narrowest: Group): void {
    for (let group = narrowest; group.parent !== undefined && group.isIdle; group = group.parent) {
      group.parent.children.delete(group.name);
    }
  }
}

/** A guest's place in the queue. */
interface QueueMember extends Member {
  readonly pass: GatePass;
}

/** A guest that is inside or waits. */
export class GatePass implements Listed {
  isListed = false;
  older: Listed | undefined;
  newer: Listed | undefined;
  isInside = false;
  readonly group: Group;
  readonly queued: QueueMember;
  readonly #gate: FairGate;
  readonly #guest: GateGuest;
  #hasLeft = false;

  constructor(gate: FairGate, group: Group, guest: GateGuest) {
    this.#gate = gate;
    this.group = group;
    this.#guest = guest;
    this.queued = { ...NOWHERE, pass: this };
  }

  /** @internal by FairGate alone */
  begin(): void {
    this.isInside = true;
    this.#guest.onEnter();
  }

  /** Gives the place back, or gives the wait up. Has no effect the second time. */
  leave(): void {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    this.#gate.leave(this);
  }

  /** @internal by FairGate alone */
  giveWay(): void {
    this.leave();
    this.#guest.onGiveWay();
  }
}

const NOWHERE = { isListed: false, older: undefined, newer: undefined, group: undefined };

/** A node of the tree of groups. Only the narrowest groups have passes of their own. */
class Group implements Listed {
  isListed = false;
  older: Listed | undefined;
  newer: Listed | undefined;
  inside = 0;
  waiting = 0;
  readonly children = new Map<string, Group>();
  readonly parent: Group | undefined;
  readonly name: string;
  readonly #mostInside: number;
  readonly #mostWaiting: number;
  /** Waiting passes, of the narrowest groups. */
  readonly #passes = new OldestFirst<GatePass>();
  /** Children of which one may enter, the next one first. */
  readonly #turns = new OldestFirst<Group>();

  constructor(parent: Group | undefined, name: string, mostInside: number, mostWaiting: number) {
    this.parent = parent;
    this.name = name;
    this.#mostInside = mostInside;
    this.#mostWaiting = mostWaiting;
  }

  get isFull(): boolean {
    return this.waiting >= this.#mostWaiting;
  }

  get isIdle(): boolean {
    return this.inside === 0 && this.waiting === 0;
  }

  /** Whether one of this group may enter, as far as this group and those below it are concerned. */
  get isEligible(): boolean {
    return this.hasPlace && (this.#passes.size > 0 || this.#turns.size > 0);
  }

  add(pass: GatePass): void {
    this.#passes.add(pass);
    this.#countWaiting(1);
  }

  remove(pass: GatePass): void {
    this.#passes.delete(pass);
    this.#countWaiting(-1);
  }

  /** Of an eligible group: lets in the next one, and sends its groups to the end of their turns. */
  takeNext(): GatePass {
    const child = this.#turns.oldest;
    if (child !== undefined) {
      this.#turns.delete(child);
      return child.takeNext();
    }
    const pass = this.#passes.oldest!;
    this.remove(pass);
    this.countInside(1);
    return pass;
  }

  countInside(by: number): void {
    this.inside += by;
    this.#takePlaceInTurns();
    this.parent?.countInside(by);
  }

  get hasPlace(): boolean {
    return this.inside < this.#mostInside;
  }

  #countWaiting(by: number): void {
    this.waiting += by;
    this.#takePlaceInTurns();
    if (this.parent !== undefined) this.parent.#countWaiting(by);
  }

  #takePlaceInTurns(): void {
    if (this.parent === undefined) return;
    const turns = this.parent.#turns;
    if (!this.isEligible) turns.delete(this);
    else if (!this.isListed) turns.add(this);
  }
}
