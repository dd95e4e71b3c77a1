import { vi } from "vitest";

/** Waits until `check` throws no more. Only what never comes true fails by it, on however slow a machine. */
export function eventually<T>(check: () => T | Promise<T>): Promise<T> {
  return vi.waitFor(check, { timeout: 30_000, interval: 10 });
}
