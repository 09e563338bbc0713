import { runSeed } from './run.js';
const a = process.argv.slice(2);
const from = Number(a[0] ?? 1), to = Number(a[1] ?? from);
for (let s = from; s <= to; s++) {
  const t = performance.now();
  try {
    const r = runSeed(s, a[2] === 'v' ? { write: (l) => console.log(l) } : {});
    console.log(s, 'ok', r.changes, r.hash, r.quietMs.toFixed(0), r.lulls, r.faults.join(','), (performance.now() - t).toFixed(0), 'ms');
  } catch (e) { console.log(String((e as Error).message)); if (a[3]) console.log((e as Error).stack); }
}
