/** Which named functions of this process' sources have run since a moment (V8's precise coverage). */
import { Session } from "node:inspector/promises";

export interface CalledFunctions extends AsyncDisposable {
  /** Names of the functions that have not run, as `<path below src/>: <name>`, for files whose path begins so. */
  neverCalled(folder: string): Promise<readonly string[]>;
}

/** Begins to count. Files must not have been loaded before, or V8 knows only those of their functions that run now. */
export async function countCalls(): Promise<CalledFunctions> {
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  return {
    async neverCalled(folder) {
      const { result } = await session.post("Profiler.takePreciseCoverage");
      return result.flatMap(({ url, functions }) => {
        const path = url.split("/src/").at(-1)!;
        if (!url.includes(`/src/${folder}`)) return [];
        const idle = functions.filter(({ functionName, ranges }) => functionName !== "" && ranges[0]!.count === 0);
        return idle.map(({ functionName }) => `${path}: ${functionName}`);
      });
    },
    async [Symbol.asyncDispose]() {
      await session.post("Profiler.stopPreciseCoverage");
      session.disconnect();
    },
  };
}
