/** `conntwin flows list|count`: records of a table, packed in batches, in slices. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { BatchSink } from '../control/backend.js';
import { ControlError } from '../control/backend.js';
import type { FlowBatch, FlowsRequest } from '../control/messages.js';
import type { Counters } from '../flow/counters.js';
import { FlowFilter } from '../flow/filter.js';
import { DUMP_DONE, DUMP_MORE, DUMP_PENDING } from '../flow/kernel-port.js';
import { nodeOfMark, ownerOfMark } from '../flow/owner-mark.js';
import { lengthOf, type Memory } from '../flow/record.js';
import type { About } from '../flow/where/fields.js';
import { Where, withHints } from '../flow/where/where.js';
import type { DumpFilter } from '../kernel/dump-request.js';
import { Dumper } from '../kernel/dumper.js';
import { dumpsOf } from '../kernel/flow-dumps.js';
import { CONTROL_BATCH_MAX_BYTES, FLOWS_PER_BATCH } from '../limits.js';
import { DEAD, OWNER_SELF, OWNER_UNCLASSIFIED } from '../table/slot-bits.js';
import type { Core } from './core.js';
import { OwnerMarks } from './owner-marks.js';

const SLOTS_PER_SLICE = 4096;
/** A record without parts, of IPv4. */
const RECORD_MIN_BYTES = 52;

/** Packs the records that are asked for back to back, and says when there are enough for a message. */
class Packer {
  count = 0;
  readonly marks: OwnerMarks;
  /** What the request means, in the words of the kernel's own filter. */
  readonly dumps: readonly (DumpFilter | undefined)[];
  #inBatch = 0;
  #bytes = 0;
  readonly #buffer = new Uint8Array(CONTROL_BATCH_MAX_BYTES);
  readonly #owners = new Uint8Array(CONTROL_BATCH_MAX_BYTES / RECORD_MIN_BYTES);
  readonly #filter: FlowFilter;
  readonly #where: Where | undefined;
  readonly #about: About = { owner: 0, node: '', now: 0 };

  /** Throws RangeError on a filter or an expression that is none. */
  constructor(request: FlowsRequest, marks: OwnerMarks) {
    this.marks = marks;
    this.#filter = new FlowFilter(request.filter);
    this.#where = request.where === undefined ? undefined : new Where(request.where);
    this.dumps = dumpsOf(withHints(request.filter, this.#where));
  }

  /** Of how old a flow is. */
  set now(seconds: number) {
    this.#about.now = seconds;
  }

  take(m: Memory, at: number, mark: number): void {
    if (!this.#filter.matches(m, at) || !this.#isMeant(m, at, mark)) return;
    const length = lengthOf(m, at);
    // A slice ends long before the buffer is full; a record that does not fit would be counted and not shown.
    if (this.#bytes + length > this.#buffer.length) return;
    this.#buffer.set(m.u8.subarray(at, at + length), this.#bytes);
    this.#bytes += length;
    this.#owners[this.#inBatch++] = mark;
    this.count++;
  }

  #isMeant(m: Memory, at: number, mark: number): boolean {
    if (this.#where === undefined) return true;
    const about = this.#about;
    about.owner = ownerOfMark(mark);
    about.node = nodeOfMark(mark, this.marks.nodes);
    return this.#where.matches(m, at, about);
  }

  get isFull(): boolean {
    return this.#inBatch >= FLOWS_PER_BATCH;
  }

  /** A copy of what was packed: gRPC holds messages until they are written. */
  batch(): FlowBatch | undefined {
    if (this.#bytes === 0) return undefined;
    const records = this.#buffer.slice(0, this.#bytes);
    const owners = this.#owners.slice(0, this.#inBatch);
    this.#bytes = 0;
    this.#inBatch = 0;
    return { records, owners, nodes: this.marks.nodes };
  }
}

/** Lists flows into the sink, at its pace. Resolves with their number; rejects with ControlError on a bad filter. */
export async function listFlows(
  core: Core,
  counters: Counters,
  request: FlowsRequest,
  onBatch: BatchSink,
  signal: AbortSignal,
): Promise<number> {
  const packer = packerOf(request, new OwnerMarks(core.table));
  const pass = async () => {
    const batch = packer.batch();
    if (batch !== undefined) await onBatch(batch);
    await nextTurn();
    packer.now = Date.now() / 1000;
  };
  if (request.table === 'kernel') await listKernel(counters, packer, pass, signal);
  else await listSlots(core, request, packer, pass, signal);
  await pass();
  return packer.count;
}

function packerOf(request: FlowsRequest, marks: OwnerMarks): Packer {
  try {
    return new Packer(request, marks);
  } catch (cause) {
    throw new ControlError('invalid', cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

async function listKernel(
  counters: Counters,
  packer: Packer,
  pass: () => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  let wake = (): void => undefined;
  const dumper = new Dumper({ counters, isShown: true, isPooled: true, onArrival: () => wake() });
  const sink = (m: Memory, at: number): void => packer.take(m, at, packer.marks.ofKernelFlow(m, at));
  try {
    for (const filter of packer.dumps) {
      dumper.start('table', filter);
      let state: number = DUMP_MORE;
      while ((state === DUMP_MORE || state === DUMP_PENDING) && !signal.aborted) {
        // Before `next`, which may set a thread to work: that one must find whom to wake.
        const arrival = new Promise<void>((resolve) => {
          wake = resolve;
        });
        state = dumper.next(sink);
        if (state === DUMP_PENDING) await arrival;
        else await pass();
      }
      if (state === DUMP_DONE || signal.aborted) continue;
      const why = dumper.error?.message ?? 'it changed its size meanwhile: list again';
      throw new ControlError('failed', `the kernel table could not be read whole: ${why}`);
    }
  } finally {
    dumper.close();
  }
}

async function listSlots(
  core: Core,
  request: FlowsRequest,
  packer: Packer,
  pass: () => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const { table } = core;
  const isInternal = request.table === 'internal';
  if (request.node !== '' && !core.replicator.peers().some((p) => p.node === request.node)) {
    throw new ControlError('invalid', `no peer is called ${request.node}: conntwin status lists them`);
  }
  for (let slot = 0; slot < table.slotLimit && !signal.aborted; ) {
    const end = Math.min(table.slotLimit, slot + SLOTS_PER_SLICE);
    for (; slot < end && !packer.isFull; slot++) {
      if (!table.isUsed(slot) || (table.bits(slot) & DEAD) !== 0) continue;
      const owner = table.owner(slot);
      if (isInternal !== (owner === OWNER_SELF) || owner === OWNER_UNCLASSIFIED) continue;
      if (!isInternal && !table.hasImage(slot)) continue;
      if (request.node !== '' && table.owners.node(owner) !== request.node) continue;
      packer.take(table.memory, table.recordAt(slot), packer.marks.ofSlot(slot));
    }
    await pass();
  }
}
