/**
 * A kernel to rehearse on: it shows what the real one has, and says of a write what the real one would say, without
 * passing it on.
 *
 * | create of a flow                                     | answer      | known from                              |
 * |------------------------------------------------------|-------------|-----------------------------------------|
 * | original or reply tuple is taken                     | EEXIST      | a dump of the real one, and our creates |
 * | no room                                              | ENOMEM      | maximum less count, and our creates     |
 * | helper unknown, a field out of range                 | as the real | a create that cannot succeed, see below |
 * | master not there                                     | ENOENT      | a question, and our creates             |
 *
 * A create that names the flow itself as its master is refused with ENOENT at its very end, for the flow is not there
 * yet; whatever else the kernel has against it comes before. It can never succeed: a flow that another one made there
 * meanwhile is its master, and then the tuple is taken. Plain flows are known to be taken and are not asked about.
 */
import { IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP } from '../flow/conntrack-enums.js';
import { writeMasterKey as writeExpectationMaster } from '../flow/expectation.js';
import {
  BATCH_STRIDE_BYTES,
  type EventSink,
  KernelBatch,
  type KernelPort,
  OP_CREATE,
  OP_DELETE,
  OP_GET,
  OP_GET_REPLY,
  type RowSink,
} from '../flow/kernel-port.js';
import { withOwnMaster, writeMasterKey } from '../flow/master.js';
import { keyEqual } from '../flow/merge.js';
import {
  addressBytes,
  allocateMemory,
  copyRecord,
  findPart,
  lengthOf,
  MAX_RECORD_BYTES,
  type Memory,
  OFF_LENGTH,
  OFF_PROTOCOL,
  offParts,
  PART_HELPER,
  PART_MASTER,
} from '../flow/record.js';
import { TupleSet } from '../flow/tuple-set.js';
import { INJECT_BATCH } from '../limits.js';
import type { FlowTable } from '../table/flow-table.js';
import { INJECTING, KERNEL } from '../table/slot-bits.js';
import { EEXIST, ENOENT, ENOMEM, EOPNOTSUPP } from './errno.js';
import { ExpectedTuples } from './expected-tuples.js';

/** A tuple of a flow that the real kernel has; those of pretended ones stand under their slot + 2. */
const REAL = 1;

export class DrillKernel implements KernelPort {
  /** Tuples of the real kernel's flows and of the pretended ones; the caller adds the real ones. */
  readonly #tuples: TupleSet;
  readonly #expected = new ExpectedTuples();
  readonly #kernel: KernelPort;
  readonly #table: FlowTable;
  readonly #asked = new KernelBatch(INJECT_BATCH);
  readonly #record = allocateMemory(MAX_RECORD_BYTES);
  #room: number;

  /** `table` is the one that is rehearsed on: a pretended flow is what its slot says. */
  constructor(kernel: KernelPort, table: FlowTable) {
    this.#kernel = kernel;
    this.#table = table;
    this.#room = kernel.room();
    this.#tuples = new TupleSet(table.kernelCount + table.count);
  }

  /** The real kernel has this flow. */
  readonly hasFlow = (m: Memory, at: number): void => this.#tuples.add(m, at, REAL);

  /** The real kernel has this expectation. */
  readonly hasExpectation = (m: Memory, at: number): void => this.#expected.add(m, at);

  execute(batch: KernelBatch): void {
    for (let i = 0; i < batch.count; i++) {
      batch.foundAt[i] = -1;
      const verb = batch.verb[i];
      if (verb === OP_CREATE) batch.errno[i] = this.#create(batch, i);
      else if (verb === OP_DELETE) batch.errno[i] = this.#delete(batch, i);
      else if (verb === OP_GET || verb === OP_GET_REPLY) batch.errno[i] = this.#get(batch, i);
      else batch.errno[i] = this.#tuples.valueOf(batch.memory, batch.at[i], false) === 0 ? ENOENT : 0;
    }
  }

  #create(batch: KernelBatch, i: number): number {
    const m = batch.memory;
    const at = batch.at[i];
    if (this.#tuples.valueOf(m, at, false) !== 0) return EEXIST;
    if (this.#room <= 0) return ENOMEM;
    const errno = this.#isPlain(m, at) ? 0 : this.#probe(m, at);
    if (errno !== 0) return errno;
    const master = findPart(m, at, PART_MASTER);
    if (master >= 0 && !this.#hasMaster(m, at, master)) return ENOENT;
    if (this.#tuples.valueOf(m, at, true) !== 0) return EEXIST;
    this.#tuples.add(m, at, batch.tag[i] + 2);
    this.#room--;
    return 0;
  }

  #isPlain(m: Memory, at: number): boolean {
    if (lengthOf(m, at) !== offParts(addressBytes(m, at))) return false;
    const protocol = m.u8[at + OFF_PROTOCOL];
    return (
      protocol === IPPROTO_TCP ||
      protocol === IPPROTO_UDP ||
      protocol === IPPROTO_ICMP ||
      protocol === IPPROTO_ICMPV6
    );
  }

  /** What the kernel has against the flow, master and tuples aside. Never where it is full: it drops others for one. */
  #probe(m: Memory, at: number): number {
    if (this.#kernel.room() <= 0) return 0;
    withOwnMaster(m, at, this.#record);
    const errno = this.#ask(OP_CREATE, this.#record, 0);
    return errno === ENOENT || errno === EEXIST || errno < 0 ? 0 : errno;
  }

  #hasMaster(m: Memory, at: number, part: number): boolean {
    writeMasterKey(m, at, part, this.#record);
    const slot = this.#table.find(this.#record, 0);
    // A master is created before its children, if in the same batch.
    if (slot >= 0 && (this.#table.bits(slot) & (KERNEL | INJECTING)) !== 0) return true;
    return this.#ask(OP_GET, this.#record, 0) === 0;
  }

  #delete(batch: KernelBatch, i: number): number {
    const m = batch.memory;
    const at = batch.at[i];
    if (this.#tuples.valueOf(m, at, false) === 0) return ENOENT;
    this.#tuples.delete(m, at);
    if (findPart(m, at, PART_HELPER) >= 0) this.#expected.masterGone(m, at);
    this.#room++;
    return 0;
  }

  #get(batch: KernelBatch, i: number): number {
    const m = batch.memory;
    const at = batch.at[i];
    const value = this.#tuples.valueOf(m, at, batch.verb[i] === OP_GET_REPLY);
    if (value === 0) return ENOENT;
    const to = i * BATCH_STRIDE_BYTES;
    if (value > REAL) {
      copyRecord(this.#table.memory, this.#table.recordAt(value - 2), batch.found, to);
    } else {
      const errno = this.#ask(batch.verb[i], m, at);
      if (errno !== 0) return errno;
      copyRecord(this.#asked.found, this.#asked.foundAt[0], batch.found, to);
    }
    batch.foundAt[i] = to;
    return 0;
  }

  #ask(verb: number, m: Memory, at: number): number {
    const batch = this.#asked;
    batch.clear();
    batch.add(verb, 0, m, at);
    this.#kernel.execute(batch);
    return batch.errno[0];
  }

  createExpectation(m: Memory, at: number): number {
    writeExpectationMaster(m, at, this.#record);
    this.#record.u16[OFF_LENGTH >>> 1] = offParts(addressBytes(this.#record, 0));
    const slot = this.#table.find(this.#record, 0);
    const isThere = slot >= 0 && (this.#table.bits(slot) & KERNEL) !== 0;
    let hasHelper = isThere && findPart(this.#table.memory, this.#table.recordAt(slot), PART_HELPER) >= 0;
    if (!isThere) {
      if (this.#askForKey() !== 0) return ENOENT;
      const { found, foundAt } = this.#asked;
      hasHelper = findPart(found, foundAt[0], PART_HELPER) >= 0;
    }
    if (!hasHelper) return EOPNOTSUPP;
    if (this.#expected.has(m, at)) return EEXIST;
    this.#expected.add(m, at);
    return 0;
  }

  /** Asks for the flow with the key that stands in #record; a flow whose reply tuple that is does not count. */
  #askForKey(): number {
    const errno = this.#ask(OP_GET, this.#record, 0);
    if (errno !== 0) return errno;
    return keyEqual(this.#record, 0, this.#asked.found, this.#asked.foundAt[0]) ? 0 : ENOENT;
  }

  updateExpectation(): number {
    return 0;
  }

  deleteExpectation(): number {
    return 0;
  }

  dumpStart(): void {
    this.#kernel.dumpStart();
  }

  dumpNext(sink: RowSink): number {
    return this.#kernel.dumpNext(sink);
  }

  expectationDumpStart(): void {
    this.#kernel.expectationDumpStart();
  }

  expectationDumpNext(sink: RowSink): number {
    return this.#kernel.expectationDumpNext(sink);
  }

  buckets(): number {
    return this.#kernel.buckets();
  }

  eventsLost(): number {
    return this.#kernel.eventsLost();
  }

  room(): number {
    return this.#room;
  }

  /** A rehearsal hears nothing. */
  drain(_sink: EventSink, _budgetMs: number): boolean {
    return false;
  }

  setBulk(_isBulk: boolean): void {}
}
