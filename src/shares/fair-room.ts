import { type Listed, OldestFirst } from "../lib/oldest-first.ts";
import { BySize, type Sized } from "./by-size.ts";
import type { Holder } from "./holder.ts";

export interface FairRoomOptions<M> {
  /** Called for a member that lost its place to another holder, after it left. */
  readonly onGiveWay: (member: M) => void;
  /** Maximum members at a time. Default: no bound of its own. */
  readonly places?: number;
  /** The weight of a group among its level; only for the widest groups. Default 1. */
  readonly weight?: (name: string) => number;
}

/**
 * Maximum empty groups remembered in one level. Without them, a caller that makes one call after the other would need a
 * new group for each.
 */
const MAX_EMPTY_GROUPS = 100;

/** An element of a room. A member is in at most one room. */
export interface Member extends Listed {
  /** Its group in the room; undefined while it is in no room. Only the room reads or sets this. */
  group: object | undefined;
}

/**
 * A bounded set that is fair by holder. If it is full, a newcomer takes the place of the oldest member of the group
 * with the most members for its weight. The room refuses the newcomer if its own group would then hold more than that
 * group. So a group can always grow until it is at most one member smaller than the largest other group of its level.
 */
export class FairRoom<M extends Member> {
  readonly #onGiveWay: (member: M) => void;
  readonly #places: number;
  readonly #weight: (name: string) => number;
  readonly #root = new Group<M>(undefined, "");

  constructor({ onGiveWay, places = Number.POSITIVE_INFINITY, weight = () => 1 }: FairRoomOptions<M>) {
    this.#onGiveWay = onGiveWay;
    this.#places = places;
    this.#weight = weight;
  }

  get size(): number {
    return this.#root.size;
  }

  /** Number of groups remembered, including empty ones. */
  get groups(): number {
    return this.#root.groups - 1;
  }

  /** Number of members of a group, given by its names, the widest first. */
  sizeOf(names: readonly string[]): number {
    let group: Group<M> | undefined = this.#root;
    for (const name of names) group = group?.children.get(name);
    return group?.size ?? 0;
  }

  /** @returns false if the room is full and no other group holds more; then nothing has changed */
  enter(holder: Holder, member: M): boolean {
    if (this.#root.size >= this.#places && !this.makePlaceFor(holder)) return false;
    this.add(holder, member);
    return true;
  }

  /** Enters even if the room is full. */
  add(holder: Holder, member: M): void {
    let group = this.#root;
    for (const name of holder) group = group.child(name);
    group.add(member);
  }

  /** Has no effect on a member that has left already. */
  leave(member: M): void {
    (member.group as Group<M> | undefined)?.remove(member);
  }

  /** Moves a member to the holder that it turned out to belong to. Has no effect on a member that has left. */
  move(holder: Holder, member: M): void {
    if (member.group === undefined) return;
    this.leave(member);
    this.add(holder, member);
  }

  *[Symbol.iterator](): Generator<M> {
    yield* this.#root.members();
  }

  /**
   * Removes a member of another group in favour of the holder. It looks level by level, from the widest on, for a
   * larger group. After the change that group must still hold at least as much as the holder's own group.
   *
   * @returns whether there is such a group
   */
  makePlaceFor([widest, ...narrower]: Holder): boolean {
    if (this.size === 0) return false;
    const heaviest = this.#heaviest();
    let own = this.#root.children.get(widest);
    const loadAfter = ((own?.size ?? 0) + 1) / this.#weight(widest);
    if (loadAfter <= (heaviest.size - 1) / this.#weight(heaviest.name)) return this.#takeFrom(heaviest);
    for (const name of narrower) {
      const largest = own?.largestChild;
      if (largest === undefined) return false;
      own = own!.children.get(name);
      if ((own?.size ?? 0) + 1 <= largest.size - 1) return this.#takeFrom(largest);
    }
    return false;
  }

  /** Removes a member of the largest group, for any holder. @returns false if the room is empty */
  makePlace(): boolean {
    return this.size > 0 && this.#takeFrom(this.#heaviest());
  }

  #takeFrom(group: Group<M>): true {
    const member = group.oldestOfLargest();
    this.leave(member);
    this.#onGiveWay(member);
    return true;
  }

  /** The widest group with the most members for its weight. Looks at all of them, because they are few. */
  #heaviest(): Group<M> {
    return [...this.#root.children.values()].reduce((one, other) =>
      this.#load(other) > this.#load(one) ? other : one,
    );
  }

  #load({ name, size }: Group<M>): number {
    return size / this.#weight(name);
  }
}

/** A node of the tree of groups. Only the narrowest groups have members of their own. */
class Group<M extends Member> implements Sized {
  isListed = false;
  older: Listed | undefined;
  newer: Listed | undefined;
  size = 0;
  readonly parent: Group<M> | undefined;
  readonly name: string;
  readonly children = new Map<string, Group<M>>();
  readonly #bySize = new BySize<Group<M>>();
  readonly #members = new OldestFirst<M>();

  constructor(parent: Group<M> | undefined, name: string) {
    this.parent = parent;
    this.name = name;
  }

  get largestChild(): Group<M> | undefined {
    return this.#bySize.largest;
  }

  /** Number of groups, including this one. */
  get groups(): number {
    return [...this.children.values()].reduce((sum, child) => sum + child.groups, 1);
  }

  child(name: string): Group<M> {
    let child = this.children.get(name);
    if (child === undefined) {
      child = new Group(this, name);
      this.children.set(name, child);
    }
    return child;
  }

  add(member: M): void {
    member.group = this;
    this.#members.add(member);
    this.#resize(1);
  }

  remove(member: M): void {
    member.group = undefined;
    this.#members.delete(member);
    this.#resize(-1);
  }

  /** The oldest member of the largest group. The group must not be empty. */
  oldestOfLargest(): M {
    return this.#members.oldest ?? this.#bySize.largest!.oldestOfLargest();
  }

  *members(): Generator<M> {
    for (let member = this.#members.oldest; member !== undefined; ) {
      const next = member.newer as M | undefined;
      yield member;
      member = next;
    }
    for (const child of [...this.children.values()]) yield* child.members();
  }

  #resize(by: number): void {
    const { parent } = this;
    if (parent === undefined) {
      this.size += by;
      return;
    }
    parent.#bySize.resize(this, this.size + by);
    if (this.size === 0 && parent.#bySize.emptyCount > MAX_EMPTY_GROUPS) {
      parent.children.delete(parent.#bySize.takeEmpty()!.name);
    }
    parent.#resize(by);
  }
}
