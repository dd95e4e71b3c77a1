import { describe } from "vitest";
import { clientContract } from "./client-contract.ts";
import { doorContract } from "./door-contract.ts";
import { fakeWorld } from "./world.ts";

describe("the client over fakeLatchkey", () => clientContract(fakeWorld));

describe("the middleware over fakeLatchkey", () => doorContract(fakeWorld));
