/**
 * Makes many flows in this namespace's kernel as fast as it takes them: established TCP flows to one server, written
 * by conntwin's own injector in batches without acknowledgements.
 */
import { setTimeout as pause } from 'node:timers/promises';
import {
  AF_INET,
  IPPROTO_TCP,
  IPS_ASSURED,
  IPS_SEEN_REPLY,
  TCP_CONNTRACK_ESTABLISHED,
} from '../../src/flow/conntrack-enums.js';
import { CounterMap } from '../../src/flow/counters.js';
import { KernelBatch, OP_CREATE, OP_DELETE, OP_UPDATE } from '../../src/flow/kernel-port.js';
import * as R from '../../src/flow/record.js';
import { writeInverseReply } from '../../src/flow/tuple.js';
import { Injector } from '../../src/kernel/injector.js';

export const GENERATOR_VERBS = { create: OP_CREATE, update: OP_UPDATE, delete: OP_DELETE } as const;
export type GeneratorVerb = keyof typeof GENERATOR_VERBS;

/** What a run of the generator came to. */
export interface GeneratorReport {
  readonly flows: number;
  /** Requests that the kernel refused, by errno. */
  readonly errors: Readonly<Record<string, number>>;
  readonly durationMs: number;
  readonly perSecond: number;
}

const BATCH = 64;
const ADDRESS_BYTES = 4;
/** Flow number n is from 10.1.64.1 + n / 60,000, port 1024 + n % 60,000, to 10.2.0.100 port 443: no firewall's own. */
const FLOWS_PER_ADDRESS = 60_000;
const FIRST_SOURCE = 0x0a014001;
const FIRST_PORT = 1024;
const SERVER = [10, 2, 0, 100];
const SERVER_PORT = 443;
const TIMEOUT_S = 3600;
const MARK = 7;

/** Creates, updates and deletes numbered flows; the number alone says which flow it is. Close it when done. */
export class FlowGenerator {
  private readonly injector = new Injector(new CounterMap());
  private readonly batch = new KernelBatch(BATCH);
  private readonly record = R.allocateMemory(R.MAX_RECORD_BYTES);
  private readonly failures = new Map<number, number>();
  private updates = 0;

  constructor() {
    const m = this.record;
    m.u16[R.OFF_LENGTH >>> 1] = R.offParts(ADDRESS_BYTES);
    m.u8[R.OFF_HAS] = R.HAS_TIMEOUT;
    m.u32[R.OFF_TIMEOUT >>> 2] = TIMEOUT_S;
    m.u8[R.OFF_FAMILY] = AF_INET;
    m.u8[R.OFF_PROTOCOL] = IPPROTO_TCP;
    m.u8.set(SERVER, R.offOrigDst(ADDRESS_BYTES));
    this.put16(R.OFF_ORIG_L4 + 2, SERVER_PORT);
    m.u32[R.offStatus(ADDRESS_BYTES) >>> 2] = IPS_SEEN_REPLY | IPS_ASSURED;
    m.u32[R.offMark(ADDRESS_BYTES) >>> 2] = MARK;
    m.u8[R.offState(ADDRESS_BYTES)] = TCP_CONNTRACK_ESTABLISHED;
    m.u8[R.offProtoBits(ADDRESS_BYTES)] = R.PROTO_HAS_STATE;
  }

  /** Runs a verb over `count` flows from number `first` on, at `perSecond` (0: as fast as it goes). */
  async run(verb: GeneratorVerb, count: number, first = 0, perSecond = 0): Promise<GeneratorReport> {
    const start = performance.now();
    if (verb === 'update') this.updates++;
    for (let done = 0; done < count; ) {
      const size = Math.min(BATCH, count - done);
      this.send(verb, first + done, size);
      done += size;
      if (perSecond > 0) await this.keepRate(start, done, perSecond);
    }
    return this.report(start, count);
  }

  /**
   * Creates and deletes flows from number `first` on, `perSecond` of each, `alive` at a time, until aborted; then
   * deletes the rest.
   */
  async churn(
    perSecond: number,
    alive: number,
    first: number,
    signal: AbortSignal,
  ): Promise<GeneratorReport> {
    const start = performance.now();
    let created = 0;
    let deleted = 0;
    while (!signal.aborted) {
      this.send('create', first + created, BATCH);
      created += BATCH;
      for (; deleted + alive < created; deleted += BATCH) this.send('delete', first + deleted, BATCH);
      await this.keepRate(start, created, perSecond);
    }
    for (; deleted < created; deleted += BATCH) this.send('delete', first + deleted, BATCH);
    return this.report(start, created);
  }

  close(): void {
    this.injector.close();
  }

  private send(verb: GeneratorVerb, first: number, count: number): void {
    const { batch, record } = this;
    batch.clear();
    for (let n = first; n < first + count; n++) {
      this.setFlow(n);
      batch.add(GENERATOR_VERBS[verb], n, record, 0);
    }
    this.injector.execute(batch);
    for (let i = 0; i < batch.count; i++) {
      const errno = batch.errno[i];
      if (errno !== 0) this.failures.set(errno, (this.failures.get(errno) ?? 0) + 1);
    }
  }

  private setFlow(n: number): void {
    const m = this.record;
    const source = FIRST_SOURCE + Math.floor(n / FLOWS_PER_ADDRESS);
    this.put16(R.OFF_ORIG_SRC, source >>> 16);
    this.put16(R.OFF_ORIG_SRC + 2, source);
    this.put16(R.OFF_ORIG_L4, FIRST_PORT + (n % FLOWS_PER_ADDRESS));
    m.u32[R.offMark(ADDRESS_BYTES) >>> 2] = MARK + this.updates;
    writeInverseReply(m, 0);
  }

  private put16(at: number, value: number): void {
    this.record.u8[at] = value >>> 8;
    this.record.u8[at + 1] = value;
  }

  private async keepRate(start: number, done: number, perSecond: number): Promise<void> {
    const ahead = start + (done / perSecond) * 1000 - performance.now();
    if (ahead > 0) await pause(ahead);
  }

  private report(start: number, flows: number): GeneratorReport {
    const durationMs = performance.now() - start;
    const errors = Object.fromEntries([...this.failures].map(([errno, count]) => [String(errno), count]));
    this.failures.clear();
    return { flows, errors, durationMs, perSecond: Math.round((flows / durationMs) * 1000) };
  }
}
