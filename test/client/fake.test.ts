import { describe } from "vitest";
import { clientContract } from "./client-contract.ts";
import { fakeWorld } from "./world.ts";

describe("the client over fakeLatchkey", () => clientContract(fakeWorld));
