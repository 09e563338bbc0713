/** What happens in the kernels: flows begin, change and end, as a seed decides. */
import {
  IPPROTO_TCP,
  IPS_ASSURED,
  IPS_DST_NAT,
  IPS_SEEN_REPLY,
  IPS_SRC_NAT,
} from '../../../src/flow/conntrack-enums.js';
import {
  KernelBatch,
  OP_DELETE,
  OP_UPDATE,
  SEEN_HELPER,
  SEEN_LABELS,
  SEEN_MARK,
  SEEN_PROTOINFO,
  SEEN_STATUS,
} from '../../../src/flow/kernel-port.js';
import { protoBitsOf } from '../../../src/flow/normalise.js';
import {
  addressBytes,
  allocateMemory,
  copyRecord,
  HAS_TIMEOUT,
  type Memory,
  OFF_HAS,
  OFF_PROTOCOL,
  OFF_TIMEOUT,
  offMark,
  offProtoBits,
  offReplySrc,
  offState,
  offStatus,
  PART_MASTER,
  PROTO_HAS_STATE,
} from '../../../src/flow/record.js';
import { originalKey, type TwinFlow } from '../kernel-twin-flows.js';
import { natBits } from '../kernel-twin-requests.js';
import type { Random } from '../random.js';
import { filterParts } from '../record-parts.js';
import { writeSample } from '../sample-records.js';
import { crowdOf } from './crowd.js';
import { forwarded, masterOf, writeMaster } from './forwarded.js';
import { keyText, type Machine } from './machine.js';
import type { Trace } from './trace.js';

/** Port id of another program that writes to the kernel. */
const FOREIGN_PORT = 4242;
/** Tuples that traffic of several nodes has in common (broadcasts, and what returns after a change of roles). */
const SHARED_FROM = 60_000;
const SHARED_KEYS = 24;
/** Share of the active machine's changes that are packets of connections through the cluster's address. */
const FORWARDED_SHARE = 0.6;
/** Flows of a flood, which has no tuple twice. */
const FLOOD_FROM = 0x50000;
/** A packet prolongs its flow to so much, seconds. */
const REFRESHED_S = 300;

export interface TrafficOptions {
  /** Tuples that the traffic of one node draws from. */
  readonly tuples: number;
  /** Share of changes on tuples that other nodes have too. */
  readonly sharedShare: number;
  /** All tuples of a node are of one segment. */
  readonly isCrowded: boolean;
}

/** Makes the changes of all nodes. */
export class Traffic {
  /** Kernel changes so far. */
  changes = 0;
  /** Share of flows that are born deaf, of silent changes, of clashes, of foreign requests; faults turn them on. */
  readonly rates = { deaf: 0, silent: 0, clash: 0, foreign: 0 };
  readonly #options: TrafficOptions;
  readonly #random: Random;
  readonly #trace: Trace;
  readonly #m = allocateMemory(1024);
  readonly #batch = new KernelBatch(1);
  readonly #numbers = new WeakMap<TwinFlow, number>();
  readonly #live = new Map<Machine, TwinFlow[]>();
  /** The machine that has the cluster's address. */
  active: Machine | undefined;
  /** Sample numbers of the connections that go through it. */
  readonly #connections: number[] = [];
  readonly #scratch = allocateMemory(1024);
  #variant = 0;

  constructor(options: TrafficOptions, random: Random, trace: Trace) {
    this.#options = options;
    this.#random = random;
    this.#trace = trace;
  }

  /** The machine was booted: nothing of its kernel is left. */
  forget(machine: Machine): void {
    this.#live.delete(machine);
  }

  /** Flows until a table of `count` is full, as a busy firewall has before anything happens. */
  fill(machine: Machine, count: number): void {
    for (let i = 0; i < count; i++) this.#begin(machine);
  }

  /** One change of a kernel. */
  step(machine: Machine): void {
    if (machine === this.active && this.#random.chance(FORWARDED_SHARE)) {
      this.#forward(machine);
      return;
    }
    const live = this.#liveOf(machine);
    const roll = this.#random.next();
    const isFull = live.length > this.#options.tuples * 0.8;
    if (live.length === 0 || (roll < 0.35 && !isFull)) {
      this.#begin(machine);
      return;
    }
    const i = this.#random.below(live.length);
    const flow = live[i];
    if (flow.place < 0) {
      this.#drop(live, i);
      this.#begin(machine);
      return;
    }
    if (roll < 0.6) this.#end(machine, live, i);
    else if (roll < 0.68) this.#again(machine, live, i);
    else this.#change(machine, flow);
  }

  /** A packet of a connection through the address, wherever the flow came from. */
  #forward(machine: Machine): void {
    const random = this.#random;
    const connections = this.#connections;
    const room = this.#options.tuples * 0.6;
    if (connections.length < 2 || (random.chance(0.3) && connections.length < room)) {
      const n = forwarded(random.below(this.#options.tuples));
      if (connections.includes(n)) return;
      if (this.#born(machine, n) !== undefined) connections.push(n);
      return;
    }
    const i = random.below(connections.length);
    const n = connections[i];
    writeSample(this.#scratch, 0, n, 0);
    const flow = machine.twin.lookup(originalKey(this.#scratch, 0));
    const roll = random.next();
    if (flow === undefined || flow.isLoser) {
      // Picked up in the middle, given up, or dropped and sent again.
      if (roll < 0.5) this.#born(machine, n);
      else if (roll < 0.8) this.#forget(i);
      return;
    }
    machine.sees(keyText(flow.m, 0));
    if (roll < 0.25) {
      this.#forget(i);
      this.#finish(machine, flow);
    } else if (roll < 0.33) {
      this.#finish(machine, flow);
      this.#born(machine, n);
    } else {
      if (roll < 0.7) flow.expiresAt = Math.max(flow.expiresAt, machine.twin.now() + REFRESHED_S * 1000);
      this.#change(machine, flow);
    }
  }

  /** Something happens to the flow of this key, of which a daemon is just about to write. */
  meddle(machine: Machine, m: Memory, at: number): void {
    const flow = machine.twin.lookup(originalKey(m, at));
    const roll = this.#random.next();
    if (flow === undefined || flow.isLoser || flow.isDeaf) {
      if (roll < 0.5) this.#bornAgain(machine, m, at);
    } else if (roll < 0.4) this.#finish(machine, flow);
    else if (roll < 0.6) {
      this.#finish(machine, flow);
      this.#bornAgain(machine, flow.m, 0);
    } else this.#change(machine, flow);
  }

  /** A packet in the middle of a connection that the kernel does not have. */
  #bornAgain(machine: Machine, m: Memory, at: number): void {
    // A question by what an event told: no kernel has a TCP flow without a state.
    const isTcp = m.u8[at + OFF_PROTOCOL] === IPPROTO_TCP;
    if (isTcp && (m.u8[at + offProtoBits(addressBytes(m, at))] & PROTO_HAS_STATE) === 0) return;
    const to = this.#m;
    to.u8.fill(0);
    copyRecord(m, at, to, 0);
    to.u8[OFF_HAS] = HAS_TIMEOUT;
    to.u32[OFF_TIMEOUT >>> 2] = REFRESHED_S;
    if (machine.twin.born(to, 0) === undefined) return;
    this.#note(machine, 1, 0);
    machine.sees(keyText(to, 0));
  }

  /** So many flows begin at once, and end together later. */
  flood(machine: Machine, count: number): () => void {
    const { twin } = machine;
    const born: TwinFlow[] = [];
    for (let i = 0; i < count; i++) {
      const flow = this.#born(machine, FLOOD_FROM + machine.index * 10_000 + i);
      if (flow !== undefined) born.push(flow);
    }
    return () => {
      // It was booted meanwhile.
      if (machine.twin !== twin) return;
      for (const flow of born) if (flow.place >= 0) this.#finish(machine, flow);
    };
  }

  #forget(i: number): void {
    this.#drop(this.#connections, i);
  }

  #liveOf(machine: Machine): TwinFlow[] {
    let live = this.#live.get(machine);
    if (live === undefined) {
      live = [];
      this.#live.set(machine, live);
    }
    return live;
  }

  #drop<T>(list: T[], i: number): void {
    list[i] = list[list.length - 1];
    list.pop();
  }

  #begin(machine: Machine): void {
    const random = this.#random;
    const isShared = random.chance(this.#options.sharedShare);
    const n = isShared ? SHARED_FROM + random.below(SHARED_KEYS) : this.#tuple(machine);
    this.#bornLocal(machine, n);
  }

  #bornLocal(machine: Machine, n: number): void {
    const flow = this.#born(machine, n);
    if (flow !== undefined) this.#liveOf(machine).push(flow);
  }

  #tuple(machine: Machine): number {
    const { isCrowded, tuples } = this.#options;
    if (!isCrowded) return machine.index * 10_000 + this.#random.below(tuples);
    const crowd = crowdOf(machine.index);
    return crowd[this.#random.below(crowd.length)];
  }

  #born(machine: Machine, n: number): TwinFlow | undefined {
    const random = this.#random;
    const m = this.#m;
    const v = this.#variant++ & 0xff;
    writeSample(m, 0, n, v);
    // Another life of a translated flow may have got another port or address.
    const addr = addressBytes(m, 0);
    if (n % 7 === 0) m.u8[offReplySrc(addr) + 1] = v & 3;
    this.#asShown(machine, m, n);
    m.u8[OFF_HAS] = HAS_TIMEOUT;
    m.u32[OFF_TIMEOUT >>> 2] = random.chance(0.1) ? 1 + random.below(8) : 300 + random.below(600);
    const isDeaf = random.chance(this.rates.deaf);
    if (isDeaf) m.u32[OFF_TIMEOUT >>> 2] = 100_000;
    const flow = machine.twin.born(m, 0, { isDeaf });
    if (flow === undefined) return undefined;
    this.#note(machine, 1, n);
    machine.sees(keyText(m, 0));
    this.#numbers.set(flow, n);
    if (isDeaf) machine.hide();
    if (random.chance(this.rates.clash)) machine.twin.clash(flow, this.#loser(flow), 0);
    return flow;
  }

  /** What a kernel shows of every flow of its kind: TCP's flags and scales, what its NAT says, its master. */
  #asShown(machine: Machine, m: Memory, n: number): void {
    const addr = addressBytes(m, 0);
    const protocol = m.u8[OFF_PROTOCOL];
    if (protocol === IPPROTO_TCP) m.u8[offProtoBits(addr)] = protoBitsOf(protocol);
    const status = offStatus(addr) >>> 2;
    m.u32[status] = (m.u32[status] & ~(IPS_SRC_NAT | IPS_DST_NAT)) | natBits(m, 0);
    const master = masterOf(n);
    if (master < 0) return;
    writeSample(this.#scratch, 0, master, 0);
    if (machine.twin.lookup(originalKey(this.#scratch, 0)) !== undefined)
      writeMaster(m, master, this.#scratch);
  }

  /** A packet that lost the race for a tuple: the winner's original, another reply (F13). */
  #loser(flow: TwinFlow): Memory {
    const m = this.#m;
    m.u8.set(flow.m.u8);
    m.u8[offReplySrc(addressBytes(m, 0)) + 2] ^= 0x80;
    return m;
  }

  #end(machine: Machine, live: TwinFlow[], i: number): void {
    const flow = live[i];
    this.#drop(live, i);
    this.#finish(machine, flow);
  }

  #finish(machine: Machine, flow: TwinFlow): void {
    this.#note(machine, 2, flow.id);
    if (flow.isDeaf) machine.hide();
    if (this.#random.chance(this.rates.foreign)) this.#foreign(machine, OP_DELETE, flow);
    else machine.twin.die(flow);
  }

  /** The flow ends and its tuple lives again at once. */
  #again(machine: Machine, live: TwinFlow[], i: number): void {
    const flow = live[i];
    const n = this.#numbers.get(flow) as number;
    this.#end(machine, live, i);
    this.#bornLocal(machine, n);
  }

  #foreign(machine: Machine, verb: number, flow: TwinFlow): void {
    const batch = this.#batch;
    batch.clear();
    const at = batch.add(verb, 0, flow.m, 0);
    batch.memory.u8[at + OFF_HAS] = 0;
    if (verb === OP_UPDATE) batch.memory.u32[(at + offMark(addressBytes(flow.m, 0))) >>> 2] ^= 0x10000;
    machine.twin.executeAs(FOREIGN_PORT, batch);
  }

  #change(machine: Machine, flow: TwinFlow): void {
    const random = this.#random;
    const { twin } = machine;
    const kind = random.below(5);
    const value = random.below(1 << 16);
    this.#note(machine, 3 + kind, flow.id);
    machine.sees(keyText(flow.m, 0));
    if (flow.isDeaf) machine.hide();
    const mark = (m: Memory) => {
      m.u32[offMark(addressBytes(m, 0)) >>> 2] = value;
    };
    if (random.chance(this.rates.silent)) {
      machine.hide();
      twin.changeSilently(flow, mark);
    } else if (random.chance(this.rates.foreign)) this.#foreign(machine, OP_UPDATE, flow);
    else if (kind <= 1) twin.change(flow, SEEN_MARK, mark);
    else if (kind === 2) twin.change(flow, SEEN_PROTOINFO, advance);
    else if (kind === 3) twin.change(flow, SEEN_STATUS, assure);
    else twin.change(flow, SEEN_LABELS | SEEN_HELPER, stripParts);
  }

  #note(machine: Machine, kind: number, what: number): void {
    this.changes++;
    this.#trace.note(machine.index, kind, what);
  }
}

function advance(m: Memory): void {
  if (m.u8[OFF_PROTOCOL] !== IPPROTO_TCP) return;
  const at = offState(addressBytes(m, 0));
  m.u8[at] = 1 + (m.u8[at] % 8);
}

function assure(m: Memory): void {
  m.u32[offStatus(addressBytes(m, 0)) >>> 2] |= IPS_SEEN_REPLY | IPS_ASSURED;
}

/** Labels and helper are taken away; a master stays for life. */
function stripParts(m: Memory): void {
  filterParts(m, 0, (type) => type === PART_MASTER);
}
