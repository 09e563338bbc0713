/**
 * Expectations of the kernel twin, as seen on Linux 6.18: bounded by the helper's policy (a further one evicts the
 * oldest of its class), with its timeout, ended by their master's end, by use and by a timer that is exact; an
 * expectation that a helper announces again is a DESTROY and a NEW. Events and dumps have no zone.
 */
import {
  cloneExpectation,
  EXP_OFF_CLASS,
  EXP_OFF_TIMEOUT,
  EXP_OFF_TUPLE,
  EXP_OFF_ZONE,
  expOffFlags,
  tupleBytesOf,
  writeMasterKey,
} from '../../src/flow/expectation.js';
import { expectationFromRecord, recordFromExpectation } from '../../src/flow/expectation-text.js';
import { DUMP_DONE, DUMP_MORE, EVENT_DESTROY, EVENT_NEW, type RowSink } from '../../src/flow/kernel-port.js';
import { allocateMemory, findPart, type Memory, PART_HELPER } from '../../src/flow/record.js';
import type { KernelTwin } from './kernel-twin.js';
import { originalKey, type TwinFlow } from './kernel-twin-flows.js';

const ENOENT = 2;
const EEXIST = 17;
const EINVAL = 22;
const EOPNOTSUPP = 95;
const FLAG_USERSPACE = 4;
const ROWS_PER_DATAGRAM = 100;

/** Per helper: how many expectations of each class a master may have, and for how long. Seconds. */
const POLICIES: Record<string, { expected: readonly number[]; timeoutS: number }> = {
  ftp: { expected: [1], timeoutS: 300 },
  sip: { expected: [1, 4, 4, 2], timeoutS: 180 },
};

interface TwinExpectation {
  readonly m: Memory;
  readonly tuple: string;
  readonly master: TwinFlow;
  expiresAt: number;
}

const textOf = (m: Memory, from: number, bytes: number): string =>
  Buffer.from(m.u8.subarray(from, from + bytes)).toString('latin1');

/** Tuple and mask: what makes two expectations the same to the kernel. */
const tupleText = (m: Memory, at: number): string =>
  textOf(m, at + 4, 2) + textOf(m, at + EXP_OFF_TUPLE, 2 * tupleBytesOf(m, at));

const helperOf = (flow: TwinFlow): string => {
  const part = findPart(flow.m, 0, PART_HELPER);
  return part < 0 ? '' : textOf(flow.m, part + 4, flow.m.u16[(part >>> 1) + 1]);
};

export class TwinExpectations {
  readonly #twin: KernelTwin;
  #list: TwinExpectation[] = [];
  #rows: Memory[] | undefined;

  constructor(twin: KernelTwin) {
    this.#twin = twin;
  }

  get count(): number {
    this.expire();
    return this.#list.length;
  }

  /** The helper of a master announces a flow; what is the same is replaced. An errno, or 0. */
  announce(m: Memory, at: number): number {
    const known = this.#list.find((e) => e.tuple === tupleText(m, at));
    if (known !== undefined) this.#end(known, 0);
    return this.create(m, at, 0);
  }

  /** The expected flow comes: the expectation is used up. */
  use(m: Memory, at: number): void {
    const known = this.#list.find((e) => e.tuple === tupleText(m, at));
    if (known !== undefined) this.#end(known, 0);
  }

  /** A create by netlink; `portId` undefined: our own, which is not heard. */
  create(m: Memory, at: number, portId: number | undefined): number {
    this.expire();
    const key = allocateMemory(64);
    writeMasterKey(m, at, key);
    const master = this.#twin.lookup(originalKey(key, 0));
    if (master === undefined) return ENOENT;
    const policy = POLICIES[helperOf(master)];
    if (policy === undefined) return EOPNOTSUPP;
    const room = policy.expected[m.u32[(at + EXP_OFF_CLASS) >>> 2]];
    if (room === undefined) return EINVAL;
    if (this.#list.some((e) => e.tuple === tupleText(m, at))) return EEXIST;
    const shown = this.#asShown(m, at, master, policy.timeoutS);
    const isRival = (e: TwinExpectation) =>
      e.master === master && e.m.u32[EXP_OFF_CLASS >>> 2] === shown.u32[EXP_OFF_CLASS >>> 2];
    const rivals = this.#list.filter(isRival);
    if (rivals.length >= room) this.#end(rivals[0], 0);
    const expiresAt = this.#twin.now() + policy.timeoutS * 1000;
    this.#list.push({ m: shown, tuple: tupleText(m, at), master, expiresAt });
    if (portId !== undefined) this.#twin.queue.pushExpectation(EVENT_NEW, shown, portId);
    return 0;
  }

  /** An update by netlink: its timeout, and nobody hears of it. */
  update(m: Memory, at: number): number {
    this.expire();
    const known = this.#list.find((e) => e.tuple === tupleText(m, at));
    if (known === undefined) return ENOENT;
    known.expiresAt = this.#twin.now() + Math.max(1, m.u16[(at + EXP_OFF_TIMEOUT) >>> 1]) * 1000;
    return 0;
  }

  delete(m: Memory, at: number, portId: number | undefined): number {
    this.expire();
    const known = this.#list.find((e) => e.tuple === tupleText(m, at));
    if (known === undefined) return ENOENT;
    this.#end(known, portId);
    return 0;
  }

  /** A flow is gone; the kernel tells of its expectations as its own doing, whoever deleted the flow. */
  masterGone(flow: TwinFlow): void {
    for (const e of this.#list.filter((known) => known.master === flow)) this.#end(e, 0);
  }

  expire(): void {
    for (const e of this.#list.filter((known) => known.expiresAt <= this.#twin.now())) this.#end(e, 0);
  }

  dumpStart(): void {
    this.expire();
    this.#rows = this.#list.map((e) => {
      const row = cloneExpectation(e.m, 0);
      row.u16[EXP_OFF_TIMEOUT >>> 1] = Math.ceil((e.expiresAt - this.#twin.now()) / 1000);
      return row;
    });
  }

  /** As the flows' dump it shows what was there when the datagram was filled (F10). */
  dumpNext(sink: RowSink): number {
    const rows = this.#rows?.splice(0, ROWS_PER_DATAGRAM) ?? [];
    for (const row of rows) sink(row, 0);
    return rows.length === 0 ? DUMP_DONE : DUMP_MORE;
  }

  #asShown(m: Memory, at: number, master: TwinFlow, timeoutS: number): Memory {
    const object = expectationFromRecord(cloneExpectation(m, at), 0);
    const { nat } = object;
    if (nat !== undefined) {
      // The kernel keeps the source only.
      nat.tuple = { ...nat.tuple, destination: object.family === 'ipv6' ? '::' : '0.0.0.0' };
      if (nat.tuple.destinationPort !== undefined) nat.tuple.destinationPort = 0;
    }
    const shown = recordFromExpectation({ ...object, helper: helperOf(master), timeout: timeoutS });
    const t = tupleBytesOf(shown, 0);
    shown.u16[EXP_OFF_ZONE >>> 1] = 0;
    shown.u32[expOffFlags(t) >>> 2] &= ~FLAG_USERSPACE;
    return shown;
  }

  #end(e: TwinExpectation, portId: number | undefined): void {
    this.#list = this.#list.filter((known) => known !== e);
    if (portId !== undefined) this.#twin.queue.pushExpectation(EVENT_DESTROY, e.m, portId);
  }
}
