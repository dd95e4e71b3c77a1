import { describe } from "vitest";
import { clientContract } from "./client-contract.ts";
import { fakeWorld } from "./world.ts";

describe("the client over fakeLatchkey", () => clientContract(() => fakeWorld()));

describe("the client over fakeLatchkey, near", () => clientContract(() => fakeWorld(true)));

describe("the client over fakeLatchkey, near and counting after", () =>
  clientContract(() => fakeWorld({ counting: "after" })));
