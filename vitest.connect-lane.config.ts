import { defineConfig } from "vitest/config";
import everyday from "./vitest.config.ts";

/** What is told over the wire, on PostgreSQL and Redis, with unary gRPC sent the long way, through Connect: both lanes must behave alike. */
export default defineConfig({
  test: {
    ...everyday.test,
    include: ["test/rpc/**/*.test.ts", "test/wire/**/*.test.ts"],
    provide: { backing: "servers", unaryLane: false },
  },
});
