/**
 * A backup's dry run: a promote of made-up flows into a kernel that is none. Code that never ran is interpreted, many times
 * slower than it is later, and a promote runs once: of the 12 ms until its first 200 flows were sent 6 were that alone.
 * So the very code of a promote, and of what writes its requests, runs beforehand, in slices, while nothing else is to do.
 *
 * Nothing of it is seen outside: it has a flow table, a stream and a state of its own, and no request is sent.
 */
import { CommitTimeouts } from '../failover/commit-timeouts.js';
import type { SourceView, StreamPort } from '../failover/ports.js';
import { Promotion } from '../failover/promote.js';
import {
  AF_INET,
  AF_INET6,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPS_ASSURED,
  IPS_SEEN_REPLY,
  TCP_CONNTRACK_ESTABLISHED,
} from '../flow/conntrack-enums.js';
import { DUMP_DONE, type KernelBatch, type KernelPort } from '../flow/kernel-port.js';
import { normalise, protoBitsOf } from '../flow/normalise.js';
import * as R from '../flow/record.js';
import { writeInverseReply } from '../flow/tuple.js';
import { CtnetlinkEncoder, REQUEST_MAX_BYTES } from '../kernel/encode.js';
import { EventRules } from '../table/event-rules.js';
import { FlowTable } from '../table/flow-table.js';
import { IDLE_LIVE, IDLE_LONG } from '../table/idle-classes.js';
import { OWNER_SELF } from '../table/slot-bits.js';

/**
 * Flows of one dry run after the other: what has never run works on few of them, so that no step is long, and the last
 * are enough for V8 to compile it. A third are live, and are created before the rest.
 */
export const REHEARSAL_FLOWS = [16, 64, 256, 1024, 4096] as const;
const FLOWS_PER_STEP = 32;
const TIMEOUT_S = 300;
const REQUESTS_PER_BUFFER = 64;
/** The same for every table of it: nobody else has them. */
const SEED = new Uint32Array([1, 2, 3, 4]);
const INCARNATION = new Uint8Array(16);
const counters = { count: (): void => undefined };

/** A kernel that takes everything: requests are written, and go nowhere. */
class NoKernel implements KernelPort {
  readonly #encoder = new CtnetlinkEncoder();
  readonly #out = new Uint8Array(REQUESTS_PER_BUFFER * REQUEST_MAX_BYTES);

  execute(batch: KernelBatch): void {
    for (let i = 0; i < batch.count; i++) {
      const at = (i % REQUESTS_PER_BUFFER) * REQUEST_MAX_BYTES;
      this.#encoder.encodeRequest(batch.verb[i], batch.memory, batch.at[i], this.#out, at, i);
      batch.foundAt[i] = -1;
      batch.errno[i] = 0;
    }
  }

  dumpStart(): void {}
  dumpNext = (): number => DUMP_DONE;
  buckets = (): number => 0;
  room = (): number => 1 << 20;
  eventsLost = (): number => 0;
  drain = (): boolean => false;
  setBulk(): void {}
  expectationDumpStart(): void {}
  expectationDumpNext = (): number => DUMP_DONE;
  createExpectation = (): number => 0;
  updateExpectation = (): number => 0;
  deleteExpectation = (): number => 0;
}

/** One dry run. */
export class Rehearsal {
  /** Flows that were committed, when it is over. */
  committed = 0;
  readonly #clock: () => number;
  readonly #table: FlowTable;
  readonly #kernel = new NoKernel();
  readonly #m = R.allocateMemory(R.MAX_RECORD_BYTES);
  readonly #owner: number;
  readonly #wanted: number;
  #flows = 0;
  #emptied = 0;
  #promotion: Promotion | undefined;

  /** With so many flows. */
  constructor(clock: () => number, flows: number) {
    this.#clock = clock;
    this.#wanted = flows;
    this.#table = new FlowTable({ seed: SEED, maxFlows: flows * 2 });
    this.#owner = this.#table.owners.add('rehearsal', INCARNATION);
  }

  /** Works for some milliseconds, less once the code is compiled; true when it is over. */
  step(): boolean {
    if (this.#flows < this.#wanted) {
      const end = Math.min(this.#wanted, this.#flows + FLOWS_PER_STEP);
      while (this.#flows < end) this.#add(this.#flows++);
      return false;
    }
    this.#promotion ??= this.#begin();
    this.#emptied++;
    if (!this.#promotion.step(this.#clock())) return false;
    this.committed = this.#promotion.report.committed;
    return true;
  }

  #begin(): Promotion {
    const table = this.#table;
    const rules = new EventRules({
      table,
      counters,
      now: () => this.#clock(),
      isPrimary: () => true,
      get: () => false,
    });
    return new Promotion(
      {
        kernel: this.#kernel,
        table,
        rules,
        counters,
        clock: () => this.#clock(),
        emptied: () => this.#emptied,
        timeouts: new CommitTimeouts(),
        stream: this.#stream(),
        persist: () => undefined,
        bootId: '',
      },
      { role: 'backup', term: 0, wasPrimary: true, wallClockMs: 0 },
    );
  }

  /** A dead primary that everything is taken over from. */
  #stream(): StreamPort {
    const source: SourceView = {
      node: 'rehearsal',
      incarnation: INCARNATION,
      owner: this.#owner,
      role: 'primary',
      primaryTerm: 1,
      isAbsorbed: false,
      isAlive: false,
      isProven: true,
      wholeUpTo: 1,
      flows: this.#wanted,
      lends: false,
      takenAt: Number.NEGATIVE_INFINITY,
      isReady: true,
      yields: 0,
      bootId: '',
    };
    return {
      sources: () => [source],
      highestTerm: 1,
      setRole: () => undefined,
      take: (owner) => this.#table.relabel(owner, OWNER_SELF),
      declare: () => undefined,
      pin: () => undefined,
      unpin: () => undefined,
    };
  }

  /** Flow number `n`: TCP and UDP, IPv4 and some IPv6, every other one translated. */
  #add(n: number): void {
    const m = this.#m;
    const isTcp = n % 4 !== 0;
    const addr = n % 8 === 7 ? 16 : 4;
    m.u8.fill(0);
    m.u16[R.OFF_LENGTH >>> 1] = R.offParts(addr);
    m.u8[R.OFF_HAS] = R.HAS_TIMEOUT;
    m.u32[R.OFF_TIMEOUT >>> 2] = TIMEOUT_S;
    m.u8[R.OFF_IDLE] = n % 3 === 0 ? IDLE_LIVE : IDLE_LONG;
    m.u8[R.OFF_FAMILY] = addr === 4 ? AF_INET : AF_INET6;
    m.u8[R.OFF_PROTOCOL] = isTcp ? IPPROTO_TCP : IPPROTO_UDP;
    m.u8[R.OFF_ORIG_SRC] = 10;
    m.u8[R.OFF_ORIG_SRC + 1] = n >>> 8;
    m.u8[R.OFF_ORIG_SRC + 2] = n;
    m.u8[R.offOrigDst(addr)] = 11;
    m.u32[R.OFF_ORIG_L4 >>> 2] = 0x12340000 + n;
    m.u32[R.offStatus(addr) >>> 2] = IPS_SEEN_REPLY | IPS_ASSURED;
    if (isTcp) {
      m.u8[R.offState(addr)] = TCP_CONNTRACK_ESTABLISHED;
      m.u8[R.offProtoBits(addr)] = protoBitsOf(IPPROTO_TCP);
    }
    writeInverseReply(m, 0);
    if (n % 2 === 0) m.u8[R.offReplyDst(addr)] = 12;
    normalise(m, 0);
    const table = this.#table;
    const slot = table.insert(m, 0, this.#owner);
    table.currentHash(slot);
    table.setImage(slot, table.hash.lo, table.hash.hi);
  }
}
