import { simulateRecords } from "./records-simulation.ts";
const from = Number(process.argv[2] ?? 1), to = Number(process.argv[3] ?? 100);
const start = performance.now();
const by = new Map<string, string[]>();
for (let seed = from; seed <= to; seed++) {
  const fault = await simulateRecords(seed);
  if (fault) { const k = fault.replace(/[\d.]+/g, "#").slice(0,100); by.set(k, [...(by.get(k) ?? []), `${seed}: ${fault}`]); }
}
for (const [k, v] of by) console.log(v.length, k, "\n     ", v.slice(0,3).join("\n      "));
console.log(((performance.now()-start)/(to-from+1)).toFixed(2), "ms per seed");
