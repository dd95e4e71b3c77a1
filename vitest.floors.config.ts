import { defineConfig } from "vitest/config";

/** The house's rules alone, for `npm run check`: no server and no database has to start for them. */
export default defineConfig({ test: { include: ["test/tidy.test.ts"] } });
