import { defineConfig } from "vitest/config";
import everyday from "./vitest.config.ts";

/** The same suite, with the service on real PostgreSQL and Redis, and what takes too long for every day. */
export default defineConfig({
  test: {
    ...everyday.test,
    exclude: ["**/*.faults.test.ts", "**/*.soak.test.ts"],
    provide: { backing: "servers" },
  },
});
