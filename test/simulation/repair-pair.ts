/**
 * Two replicators over two large tables in one process, without a network twin: frames are handed over in memory, time
 * is a virtual clock. For what needs more flows than a whole simulated cluster could carry.
 */
import { CounterMap } from '../../src/flow/counters.js';
import { seedFromText } from '../../src/flow/hash.js';
import { allocateMemory, type Memory } from '../../src/flow/record.js';
import { writeInverseReply } from '../../src/flow/tuple.js';
import { Replicator } from '../../src/replication/replicator.js';
import { FlowTable } from '../../src/table/flow-table.js';
import { KERNEL, OWNER_SELF } from '../../src/table/slot-bits.js';
import { Random } from '../simulation/random.js';
import { writeSample } from '../simulation/sample-records.js';

const HEADERS_BYTES = 42;
const SEED = seedFromText('bench');

/** What asking for the CPU time takes itself: it is asked for often. Milliseconds. */
const ASKING_MS = (() => {
  const started = process.cpuUsage();
  for (let i = 0; i < 5000; i++) process.cpuUsage();
  const { user, system } = process.cpuUsage(started);
  return (user + system) / 5000 / 1000;
})();

/** CPU time, so that what else runs on the machine does not count. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** A plain IPv4 TCP flow: the smallest record, so the share of a repair in a bulk is the largest. */
function writeFlow(m: Memory, n: number, v: number): void {
  // Sample 1 is IPv4, TCP, without NAT.
  writeSample(m, 0, 1, v);
  m.u32[5] = 0x0a000000 + (n >>> 12);
  m.u32[4] = 0x50000000 | (1024 + (n & 0xfff));
  writeInverseReply(m, 0);
}

export class Side {
  readonly counters = new CounterMap();
  replicator: Replicator;
  readonly inbox: Uint8Array[] = [];
  other: Side | undefined;
  bytes = 0;
  frames = 0;
  flushMs = 0;
  receiveMs = 0;

  constructor(
    readonly name: string,
    readonly table: FlowTable,
    readonly clock: { now: number },
    readonly random: Random,
  ) {
    this.replicator = this.#start();
  }

  restart(): void {
    this.replicator = this.#start();
  }

  turn(): void {
    let started = cpuMs();
    for (const frame of this.inbox.splice(0)) {
      this.replicator.receive(frame, 0, frame.length, 0, this.clock.now);
    }
    this.receiveMs += cpuMs() - started - ASKING_MS;
    started = cpuMs();
    this.replicator.tick(this.clock.now);
    this.replicator.flush(this.clock.now);
    this.flushMs += cpuMs() - started - ASKING_MS;
  }

  #start(): Replicator {
    return new Replicator(
      {
        table: this.table,
        now: () => this.clock.now,
        random: () => this.random.next(),
        randomBytes: (n) => this.random.bytes(n),
        send: (frame, length) => {
          this.bytes += length + HEADERS_BYTES;
          this.frames++;
          this.other?.inbox.push(frame.slice(0, length));
        },
        counters: this.counters,
        log: () => undefined,
        onPeer: () => undefined,
        onConflict: () => undefined,
      },
      { node: this.name, cluster: 'bench', incarnation: this.random.bytes(16), bootId: this.name, mtu: 1500 },
    );
  }
}

export class RepairPair {
  readonly clock = { now: 1000 };
  readonly random = new Random(1);
  readonly a: Side;
  readonly b: Side;
  /** What the last `measure` took. */
  clockMs = 0;
  readonly #record = allocateMemory(256);

  constructor(readonly flows: number) {
    const table = () => new FlowTable({ seed: SEED, maxFlows: flows + 10_000 });
    this.a = new Side('a', table(), this.clock, this.random);
    this.b = new Side('b', table(), this.clock, this.random);
    this.a.other = this.b;
    this.b.other = this.a;
  }

  fill(): void {
    for (let n = 0; n < this.flows; n++) {
      writeFlow(this.#record, n, 2);
      this.a.table.markDirty(this.a.table.insert(this.#record, 0, OWNER_SELF, KERNEL));
    }
  }

  /** Changes, removes and adds flows in the replica, as if what its owner said had been lost. */
  spoil(differences: number): void {
    const { table } = this.b;
    const [peer] = this.b.replicator.peers();
    for (let i = 0; i < differences; i++) {
      const n = this.random.below(this.flows);
      const kind = i % 3;
      writeFlow(this.#record, kind === 2 ? this.flows + i : n, 5);
      let slot = table.findOwned(peer.owner, this.#record, 0);
      if (kind === 0 && slot >= 0) {
        table.remove(slot);
        continue;
      }
      if (slot < 0) slot = table.insert(this.#record, 0, peer.owner, 0);
      else table.setRecord(slot, this.#record, 0);
      table.currentHash(slot);
      table.setImage(slot, table.hash.lo, table.hash.hi);
    }
  }

  /** Runs until both replicas are proven at the end of the stream; returns the bytes on the link. */
  measure(what: string): number {
    for (const side of [this.a, this.b]) {
      side.bytes = 0;
      side.frames = 0;
      side.flushMs = 0;
      side.receiveMs = 0;
    }
    const from = this.clock.now;
    const isDone = () => {
      const [mine] = this.a.replicator.peers();
      const [theirs] = this.b.replicator.peers();
      return (
        mine?.verdict === 'proven' &&
        theirs?.myVerdict === 'proven' &&
        mine.verdictSequence > 0 &&
        this.a.table.dirtyCount === 0 &&
        theirs.receivedSequence === this.a.replicator.sequence
      );
    };
    do {
      this.clock.now += 0.5;
      this.a.turn();
      this.b.turn();
      if (this.clock.now - from > 120_000) throw new Error(`${what}: not proven`);
    } while (this.clock.now - from < 1500 || !isDone());
    this.clockMs = this.clock.now - from;
    return this.a.bytes + this.b.bytes;
  }
}
