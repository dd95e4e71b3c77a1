/** The contracts of the client and of its middleware, with the real frameworks and both services. */
import { describe } from "vitest";
import { clientContract } from "./client-contract.ts";
import { doorContract } from "./door-contract.ts";
import { streamContract } from "./stream-contract.ts";
import { fakeWorld, serviceWorld } from "./world.ts";

describe("the client over the running service", () => clientContract(() => serviceWorld()));

describe("the client over the running service, near", () => clientContract(() => serviceWorld(true)));

describe("the middleware over the running service", () => doorContract(() => serviceWorld()));

describe("the middleware over fakeLatchkey", () => doorContract(() => fakeWorld()));

describe("streams over the running service", () => streamContract(() => serviceWorld()));

describe("streams over the running service, near", () => streamContract(() => serviceWorld(true)));
