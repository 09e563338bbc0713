/**
 * What the flow table costs: process memory a flow and time an operation at a million IPv4 TCP flows.
 * Run: node --expose-gc dist/test/bench/table-memory.js [flows]
 */
import { AF_INET, IPPROTO_TCP } from '../../src/flow/conntrack-enums.js';
import { seedFromText } from '../../src/flow/hash.js';
import { allocateMemory, MAX_RECORD_BYTES, offParts, offReplyL4 } from '../../src/flow/record.js';
import { writeInverseReply } from '../../src/flow/tuple.js';
import { FlowTable } from '../../src/table/flow-table.js';
import { KERNEL, OWNER_SELF } from '../../src/table/slot-bits.js';

const flows = Number(process.argv[2] ?? 1_000_000);
const scratch = allocateMemory(MAX_RECORD_BYTES);

/** Writes the record of flow `i` at 0 of the scratch memory. */
function writeFlow(i: number): void {
  scratch.u16[0] = offParts(4);
  scratch.u8[12] = AF_INET;
  scratch.u8[13] = IPPROTO_TCP;
  scratch.u16[8] = 1024 + (i % 60_000);
  scratch.u16[9] = 0x5000;
  scratch.u32[5] = 0x0000000a + (Math.floor(i / 60_000) << 8);
  scratch.u32[6] = 0x0100000b;
  writeInverseReply(scratch, 0);
  scratch.u8[offReplyL4(4) + 12] = 3;
}

const settle = () => (globalThis as { gc?: () => void }).gc?.();
const residentBytes = () => {
  settle();
  return process.memoryUsage.rss();
};

/** Runs `step` for each flow; returns nanoseconds an operation and the longest single one in milliseconds. */
function measure(step: (i: number) => void): { ns: number; longestMs: number } {
  let longest = 0;
  const start = performance.now();
  let last = start;
  for (let i = 0; i < flows; i++) {
    step(i);
    const now = performance.now();
    if (now - last > longest) longest = now - last;
    last = now;
  }
  return { ns: ((last - start) * 1e6) / flows, longestMs: longest };
}

const row = (name: string, { ns, longestMs }: { ns: number; longestMs: number }) =>
  console.log(
    `${name.padEnd(28)}${ns.toFixed(0).padStart(7)} ns${longestMs.toFixed(2).padStart(9)} ms longest`,
  );

const empty = residentBytes();
const table = new FlowTable({ seed: seedFromText('bench') });
const reserved = residentBytes();
row('clock and record alone', measure(writeFlow));
const warm = residentBytes();
row(
  'insert',
  measure((i) => {
    writeFlow(i);
    table.insert(scratch, 0, OWNER_SELF, KERNEL);
  }),
);
const full = residentBytes();
row(
  'find',
  measure((i) => {
    writeFlow((i * 7919) % flows);
    if (table.find(scratch, 0) < 0) throw new Error(`flow ${i} is not in the table`);
  }),
);
row(
  'find + setRecord',
  measure((i) => {
    writeFlow((i * 7919) % flows);
    table.setRecord(table.find(scratch, 0), scratch, 0);
  }),
);
row(
  'currentHash + setImage',
  measure((i) => {
    table.currentHash(i);
    table.setImage(i, table.hash.lo, table.hash.hi);
  }),
);
row(
  'markDirty',
  measure((i) => table.markDirty(i)),
);
row(
  'nextDirty',
  measure(() => table.nextDirty()),
);
row(
  'remove + insert',
  measure((i) => {
    const victim = (i * 7919) % flows;
    writeFlow(victim);
    table.remove(table.find(scratch, 0));
    table.insert(scratch, 0, OWNER_SELF, KERNEL);
  }),
);
const perFlow = (bytes: number) => (bytes / flows).toFixed(1);
console.log(
  `process memory a flow: ${perFlow(full - warm)} bytes after inserts, ${perFlow(residentBytes() - warm)} at the end`,
);
console.log(`an empty table: ${((reserved - empty) / 1024).toFixed(0)} KiB; flows: ${table.count}`);
