/** Samples of all processes, once a second: the metrics of each process of the service, and the memory of all. */
import { nowMs } from "../nemesis/history.ts";
import type { Observation } from "../nemesis/trial.ts";
import type { World } from "../nemesis/world.ts";
import { samplesOf } from "./exposition.ts";
import type { MemorySample } from "./memory.ts";
import type { RecordFile } from "./record.ts";

const EVERY_MS = 1000;
/** A process that is paused or starts has no sample. */
const SCRAPE_MS = 900;

export interface Scrapes {
  /** All samples of memory so far. */
  readonly memory: readonly MemorySample[];
  begin(world: World, startedMs: number): Observation;
}

export function scrapeWorld(record: RecordFile): Scrapes {
  const memory: MemorySample[] = [];
  return { memory, begin: (world, startedMs) => begin(world, startedMs, record, memory) };
}

function begin(world: World, startedMs: number, record: RecordFile, memory: MemorySample[]): Observation {
  const busy = new Set<string>();
  const second = () => Math.round((nowMs() - startedMs) / 10) / 100;
  const add = (sample: MemorySample) => {
    memory.push(sample);
    record.write({ type: "memory", ...sample });
  };
  const scrapeNode = async ({ index, opsAddress, starts }: World["nodes"][number]) => {
    const process = `process ${index}`;
    const life = starts.length;
    const text = await metricsOf(opsAddress);
    if (text === undefined) return;
    const samples = samplesOf(text);
    record.scrape(second(), process, life, samples);
    const [rssBytes, heapBytes] = [samples.process_resident_memory_bytes, samples.nodejs_heap_size_used_bytes];
    if (rssBytes === undefined || heapBytes === undefined) return;
    add({ process, second: second(), life, rssBytes, heapBytes });
  };
  const scrapeNear = async () => {
    const life = world.near.starts.length;
    const said = await world.near.memory();
    if (said !== undefined) add({ process: "near clients", second: second(), life, ...said });
  };
  /** A place that still has not answered the last time is not asked again. */
  const ask = async (place: string, scrape: () => Promise<void>) => {
    if (busy.has(place)) return;
    busy.add(place);
    await scrape();
    busy.delete(place);
  };
  const round = () =>
    Promise.all([
      ...world.nodes.map((node) => ask(`process ${node.index}`, () => scrapeNode(node))),
      ask("near clients", scrapeNear),
    ]);
  const timer = setInterval(() => void round(), EVERY_MS);
  return {
    async end() {
      clearInterval(timer);
    },
  };
}

/** undefined if the process gives none in time. */
async function metricsOf(address: string): Promise<string | undefined> {
  try {
    const answer = await fetch(`http://${address}/metrics`, { signal: AbortSignal.timeout(SCRAPE_MS) });
    return answer.ok ? await answer.text() : undefined;
  } catch {
    return undefined;
  }
}
