import { describe } from "vitest";
import { clientContract } from "./client-contract.ts";
import { doorContract } from "./door-contract.ts";
import { serviceWorld } from "./world.ts";

describe("the client over the running service", () => clientContract(serviceWorld));

describe("the middleware over the running service", () => doorContract(serviceWorld));
