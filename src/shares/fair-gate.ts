import { type Listed, OldestFirst } from "../lib/oldest-first.ts";
import { FairRoom, type Member } from "./fair-room.ts";
import type { Holder } from "./holder.ts";

export interface FairGateOptions {
  /** Maximum guests inside at once. */
  readonly places: number;
  /** Maximum places of one group, which is given by its names, the widest first, such as `["known", "usr_1"]`. */
  readonly mostPlaces: (group: readonly string[]) => number;
  /** The same while `isShared` is set. Must be at least 1. Default: `mostPlaces`. */
  readonly mostPlacesShared?: (group: readonly string[]) => number;
  /** Maximum waiting guests of one group, given in the same way. */
  readonly mostWaiting: (group: readonly string[]) => number;
  /**
   * Maximum waiting guests in total. Beyond it a guest of the group with the most waiting guests gives way, as in
   * FairRoom.
   */
  readonly queue: number;
}

/** Work that wants to enter the gate. */
export interface GateGuest {
  /** Called once when there is a place: within `enter`, or later when another guest leaves. */
  onEnter(): void;
  /** Called when a waiting guest has lost its place in the queue to another; it no longer waits. */
  onGiveWay(): void;
}

/**
 * A bounded semaphore with a queue that is fair by holder. At each level, waiting groups get places in turn (round
 * robin); within the narrowest group, the guest that came first is next.
 *
 * It holds at every moment:
 *
 * - At most `places` guests are inside.
 * - No group has more than its `mostPlaces` inside.
 * - No guest waits while there is a place that it may have.
 */
export class FairGate {
  readonly #options: FairGateOptions;
  readonly #root: Group;
  readonly #queue: FairRoom<QueueMember>;
  #isShared = false;

  constructor(options: FairGateOptions) {
    this.#options = options;
    const places = { alone: options.places, shared: options.places };
    this.#root = new Group({ parent: undefined, name: "", places, mostWaiting: Number.POSITIVE_INFINITY });
    this.#queue = new FairRoom({ places: options.queue, onGiveWay: ({ pass }) => pass.giveWay() });
  }

  /** Number of guests inside. */
  get inside(): number {
    return this.#root.inside;
  }

  get waiting(): number {
    return this.#root.waiting;
  }

  /**
   * Whether `mostPlacesShared` bounds the groups. The owner of the gate sets it while several holders ask. Guests that
   * are inside stay there, so a group may have more than its bound until they leave.
   */
  get isShared(): boolean {
    return this.#isShared;
  }

  set isShared(isShared: boolean) {
    if (isShared === this.#isShared) return;
    this.#isShared = isShared;
    this.#root.applyBound(isShared);
    this.#serve();
  }

  /**
   * Enters immediately, or waits.
   *
   * @param isUnderWay whether the guest may wait beyond `mostWaiting`, because its call was let in before
   * @returns undefined if no more guests may wait: the gate forgets this guest and never calls it
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

  /** @internal only for GatePass */
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
        child = this.#newGroup(group, name, names.slice(0, at + 1));
        group.children.set(name, child);
      }
      group = child;
      return child;
    });
  }

  #newGroup(parent: Group, name: string, path: readonly string[]): Group {
    const { mostPlaces, mostPlacesShared = mostPlaces, mostWaiting } = this.#options;
    const places = { alone: mostPlaces(path), shared: mostPlacesShared(path) };
    const group = new Group({ parent, name, places, mostWaiting: mostWaiting(path) });
    group.applyBound(this.#isShared);
    return group;
  }

  #forgetIdle(narrowest: Group): void {
    for (let group = narrowest; group.parent !== undefined && group.isIdle; group = group.parent) {
      group.parent.children.delete(group.name);
    }
  }
}

/** The place of a guest in the queue. */
interface QueueMember extends Member {
  readonly pass: GatePass;
}

/** A guest that is inside or waiting. */
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

  /** @internal only for FairGate */
  begin(): void {
    this.isInside = true;
    this.#guest.onEnter();
  }

  /** Gives the place back, or stops waiting. A second call has no effect. */
  leave(): void {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    this.#gate.leave(this);
  }

  /** @internal only for FairGate */
  giveWay(): void {
    this.leave();
    this.#guest.onGiveWay();
  }
}

const NOWHERE = { isListed: false, older: undefined, newer: undefined, group: undefined };

interface GroupOptions {
  readonly parent: Group | undefined;
  readonly name: string;
  readonly places: { readonly alone: number; readonly shared: number };
  readonly mostWaiting: number;
}

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
  readonly #places: GroupOptions["places"];
  #mostInside: number;
  readonly #mostWaiting: number;
  /** Waiting passes; only the narrowest groups have any. */
  readonly #passes = new OldestFirst<GatePass>();
  /** Children with a guest that may enter, the next one first. */
  readonly #turns = new OldestFirst<Group>();

  constructor({ parent, name, places, mostWaiting }: GroupOptions) {
    this.parent = parent;
    this.name = name;
    this.#places = places;
    this.#mostInside = places.alone;
    this.#mostWaiting = mostWaiting;
  }

  /** Sets the bound of this group and of all narrower ones. */
  applyBound(isShared: boolean): void {
    for (const child of this.children.values()) child.applyBound(isShared);
    this.#mostInside = isShared ? this.#places.shared : this.#places.alone;
    this.#takePlaceInTurns();
  }

  get isFull(): boolean {
    return this.waiting >= this.#mostWaiting;
  }

  get isIdle(): boolean {
    return this.inside === 0 && this.waiting === 0;
  }

  /** Whether a guest of this group may enter, as far as this group and its children are concerned. */
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

  /** Lets in the next guest, and moves its groups to the end of their turns. The group must be eligible. */
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
