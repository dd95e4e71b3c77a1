import { expect, it } from "vitest";
import { RecentChanges } from "../../src/changes/recent-changes.ts";

it("a read is outdated by a change of what it depends on after it began, not by one before", () => {
  const changes = new RecentChanges();
  changes.note("key");
  const since = changes.begin();
  expect(changes.haveChanged(["key", "owner"], since)).toBe(false);
  changes.note("another");
  expect(changes.haveChanged(["key", "owner"], since)).toBe(false);
  changes.note("owner");
  expect(changes.haveChanged(["key", "owner"], since)).toBe(true);
  expect(changes.haveChanged(["key", "owner"], changes.begin())).toBe(false);
});

it("a change of everything differs from 20,000 changes", () => {
  const changes = new RecentChanges();
  const since = changes.begin();
  for (let n = 0; n < 20_000; n++) changes.note(`key${n}`);
  expect(changes.haveChanged(["untouched"], since)).toBe(true);
  expect(changes.allChanged(since)).toBe(false);
  changes.noteAll();
  expect(changes.allChanged(since)).toBe(true);
  expect(changes.allChanged(changes.begin())).toBe(false);
});

it("memory is bounded while reads are always under way, and no change is missed", () => {
  const changes = new RecentChanges();
  const slow = changes.begin();
  for (let n = 0; n < 35_000; n++) {
    const quick = changes.begin();
    changes.note(`key${n}`);
    expect(changes.size).toBeLessThanOrEqual(10_000);
    expect(changes.haveChanged([`key${n}`], quick)).toBe(true);
    expect(changes.haveChanged([`key${n >> 1}`], slow)).toBe(true);
    changes.end();
  }
});

it("a read that began after 10,001 changes is not outdated by them", () => {
  const changes = new RecentChanges();
  changes.begin();
  for (let n = 0; n < 10_001; n++) changes.note(`key${n}`);
  const since = changes.begin();
  changes.note("key");
  expect(changes.haveChanged(["key1"], since)).toBe(false);
});

it("nothing is remembered while no read is under way", () => {
  const changes = new RecentChanges();
  changes.note("key");
  expect(changes.size).toBe(0);
  changes.begin();
  changes.begin();
  changes.note("key");
  changes.end();
  expect(changes.size).toBe(1);
  changes.end();
  expect(changes.size).toBe(0);
});
