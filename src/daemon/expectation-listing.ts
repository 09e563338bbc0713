/** `conntwin expectations list|count`: packed expectations of a table, in batches. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type BatchSink, ControlError } from '../control/backend.js';
import type { ExpectationsRequest } from '../control/messages.js';
import type { Counters } from '../flow/counters.js';
import { cloneExpectation, writeMasterKey } from '../flow/expectation.js';
import { DUMP_DONE, DUMP_MORE } from '../flow/kernel-port.js';
import { OWNER_REPLICA } from '../flow/owner-mark.js';
import { allocateMemory, MAX_TABLE_RECORD_BYTES, type Memory } from '../flow/record.js';
import { ExpectationDumper } from '../kernel/expectation-dumper.js';
import { EXPECTATIONS_MAX, FLOWS_PER_BATCH } from '../limits.js';
import { OWNER_SELF } from '../table/slot-bits.js';
import type { Core } from './core.js';
import { OwnerMarks } from './owner-marks.js';

/** A packed expectation, and whose it is (src/flow/owner-mark.ts). */
interface Row {
  readonly record: Memory;
  readonly mark: number;
}

/** Lists expectations into the sink, at its pace. Rejects with ControlError. */
export async function listExpectations(
  core: Core,
  counters: Counters,
  request: ExpectationsRequest,
  onBatch: BatchSink,
  signal: AbortSignal,
): Promise<void> {
  const marks = new OwnerMarks(core.table);
  const rows =
    request.table === 'kernel'
      ? kernelExpectations(counters, marks)
      : tableExpectations(core, request, marks);
  for (let i = 0; i < rows.length && !signal.aborted; i += FLOWS_PER_BATCH) {
    const part = rows.slice(i, i + FLOWS_PER_BATCH);
    const bytes = Buffer.concat(part.map(({ record: { u8 } }) => u8.subarray(0, u8[0] | (u8[1] << 8))));
    await onBatch({ records: bytes, owners: Uint8Array.from(part, ({ mark }) => mark), nodes: marks.nodes });
    await nextTurn();
  }
}

/** The kernel has some thousand of them at most unless told otherwise: one dump, in one go. */
function kernelExpectations(counters: Counters, marks: OwnerMarks): Row[] {
  const rows: Row[] = [];
  const master = allocateMemory(MAX_TABLE_RECORD_BYTES);
  const dumper = new ExpectationDumper(counters);
  try {
    dumper.start();
    let state: number = DUMP_MORE;
    while (state === DUMP_MORE && rows.length < EXPECTATIONS_MAX) {
      state = dumper.next((m, at) => {
        // An expectation goes with its master.
        writeMasterKey(m, at, master);
        rows.push({ record: cloneExpectation(m, at), mark: marks.ofKernelFlow(master, 0) });
      });
    }
    if (state !== DUMP_DONE) throw new ControlError('failed', 'the expectations could not be read whole');
  } finally {
    dumper.close();
  }
  return rows;
}

function tableExpectations(core: Core, { table: name, node }: ExpectationsRequest, marks: OwnerMarks): Row[] {
  const { table, replicator } = core;
  const peers = replicator.peers().filter((p) => node === '' || p.node === node);
  if (node !== '' && peers.length === 0) {
    throw new ControlError('invalid', `no peer is called ${node}: conntwin status lists them`);
  }
  const owners = name === 'internal' ? [OWNER_SELF] : peers.map((p) => p.owner);
  const entries = owners.flatMap((owner) => table.expectations.list(owner));
  return entries
    .filter((entry) => entry.isLive)
    .map(({ record, owner }) => ({ record, mark: marks.of(owner, OWNER_REPLICA) }));
}
