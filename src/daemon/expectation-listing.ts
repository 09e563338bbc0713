/** `conntwin expectations list|count`: packed expectations of a table, in batches. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type BatchSink, ControlError } from '../control/backend.js';
import type { ExpectationsRequest } from '../control/messages.js';
import type { Counters } from '../flow/counters.js';
import { cloneExpectation } from '../flow/expectation.js';
import { DUMP_DONE, DUMP_MORE } from '../flow/kernel-port.js';
import type { Memory } from '../flow/record.js';
import { ExpectationDumper } from '../kernel/expectation-dumper.js';
import { EXPECTATIONS_MAX, FLOWS_PER_BATCH } from '../limits.js';
import { OWNER_SELF } from '../table/slot-bits.js';
import type { Core } from './core.js';

/** Lists expectations into the sink, at its pace. Rejects with ControlError. */
export async function listExpectations(
  core: Core,
  counters: Counters,
  request: ExpectationsRequest,
  onBatch: BatchSink,
  signal: AbortSignal,
): Promise<void> {
  const records =
    request.table === 'kernel' ? kernelExpectations(counters) : tableExpectations(core, request);
  for (let i = 0; i < records.length && !signal.aborted; i += FLOWS_PER_BATCH) {
    const part = records.slice(i, i + FLOWS_PER_BATCH);
    await onBatch(Buffer.concat(part.map(({ u8 }) => u8.subarray(0, u8[0] | (u8[1] << 8)))));
    await nextTurn();
  }
}

/** The kernel has some thousand of them at most unless told otherwise: one dump, in one go. */
function kernelExpectations(counters: Counters): Memory[] {
  const records: Memory[] = [];
  const dumper = new ExpectationDumper(counters);
  try {
    dumper.start();
    let state: number = DUMP_MORE;
    while (state === DUMP_MORE && records.length < EXPECTATIONS_MAX) {
      state = dumper.next((m, at) => records.push(cloneExpectation(m, at)));
    }
    if (state !== DUMP_DONE) throw new ControlError('failed', 'the expectations could not be read whole');
  } finally {
    dumper.close();
  }
  return records;
}

function tableExpectations(core: Core, { table: name, node }: ExpectationsRequest): Memory[] {
  const { table, replicator } = core;
  const peers = replicator.peers().filter((p) => node === '' || p.node === node);
  if (node !== '' && peers.length === 0) {
    throw new ControlError('invalid', `no peer is called ${node}: conntwin status lists them`);
  }
  const owners = name === 'internal' ? [OWNER_SELF] : peers.map((p) => p.owner);
  const entries = owners.flatMap((owner) => table.expectations.list(owner));
  return entries.filter((entry) => entry.isLive).map((entry) => entry.record);
}
