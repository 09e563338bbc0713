/** A small table and numbered flows for tests of the table. */
import { seedFromText } from '../../../src/flow/hash.js';
import { lengthOf, type Memory } from '../../../src/flow/record.js';
import { FlowTable } from '../../../src/table/flow-table.js';
import { type FlowDescription, makeRecord, type RecordInMemory } from '../../simulation/record-maker.js';

/** A table of at most `maxFlows` flows. */
export function smallTable(maxFlows = 256, maxRecordBytes?: number): FlowTable {
  return new FlowTable({ seed: seedFromText('test'), maxFlows, maxRecordBytes });
}

/** Record of flow number `i`: every third is IPv6. */
export function numberedFlow(i: number, more: Partial<FlowDescription> = {}): RecordInMemory {
  const ports = { sourcePort: 1000 + i, destinationPort: 80 };
  const addresses =
    i % 3 === 2
      ? { source: '2001:db8::1', destination: '2001:db8::2' }
      : { source: '10.0.0.1', destination: '192.0.2.1' };
  return makeRecord({ ...addresses, ...ports, ...more });
}

/** The bytes of the record at `at`. */
export function recordBytes(m: Memory, at: number): Uint8Array {
  return m.u8.slice(at, at + lengthOf(m, at));
}

/** An incarnation whose bytes are all `n`. */
export const incarnationOf = (n: number): Uint8Array => new Uint8Array(16).fill(n);
