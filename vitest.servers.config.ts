import { mergeConfig } from "vitest/config";
import everyday from "./vitest.config.ts";

/** The same suite, with the service on real PostgreSQL and Redis. */
export default mergeConfig(everyday, { test: { provide: { backing: "servers" } } });
