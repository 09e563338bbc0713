/**
 * The kernel twin: conntrack and ctnetlink in memory, with the facts F1 to F13 of PROTOCOL.md, each at its worst
 * unless a knob says otherwise. The compliance suite runs against this twin and the real kernel.
 */
import { IPS_CONFIRMED, IPS_NAT_CLASH } from '../../src/flow/conntrack-enums.js';
import {
  BATCH_STRIDE_BYTES,
  DUMP_DONE,
  DUMP_INTERRUPTED,
  DUMP_MORE,
  EVENT_DESTROY,
  EVENT_NEW,
  EVENT_UPDATE,
  type EventSink,
  type KernelBatch,
  type KernelPort,
  OP_CREATE,
  OP_DELETE,
  OP_GET,
  OP_GET_REPLY,
  OP_RETIME,
  OP_UPDATE,
  type RowSink,
  SEEN_HELPER,
  SEEN_LABELS,
  SEEN_MARK,
  SEEN_MASTER,
  SEEN_PROTOINFO,
  SEEN_SEQADJ,
  SEEN_STATUS,
  SEEN_SYNPROXY,
} from '../../src/flow/kernel-port.js';
import {
  addressBytes,
  allocateMemory,
  copyRecord,
  findPart,
  HAS_ID,
  HAS_TIMEOUT,
  MAX_RECORD_BYTES,
  type Memory,
  OFF_HAS,
  OFF_ID,
  OFF_TIMEOUT,
  offMark,
  offProtoBits,
  offState,
  offStatus,
  PART_HELPER,
  PROTO_HAS_STATE,
} from '../../src/flow/record.js';
import { cloneRecord, EventQueue, SEEN_EVERYTHING } from './kernel-twin-events.js';
import { TwinExpectations } from './kernel-twin-expectations.js';
import { originalKey, replyKey, type TwinFlow, TwinFlows } from './kernel-twin-flows.js';
import { createFlow, destroyFlow, retimeFlow, updateFlow } from './kernel-twin-requests.js';
import { cutParts } from './record-parts.js';

/** What a test can turn on the twin, at any time. */
export interface TwinKnobs {
  /** Room of the event socket. Bytes; an event takes 1,280. */
  eventBufferBytes: number;
  noEnobufs: boolean;
  reliable: boolean;
  /** Probability that a tuple's next life gets the same ct id (F1). */
  sameIdRate: number;
  swapRate: number;
  /** Probability that a dump shows a row twice (F12). */
  twiceRate: number;
  maxFlows: number;
  /** Helpers this kernel has. */
  helpers: ReadonlySet<string>;
  /** A rule uses labels; otherwise they are dropped in silence at creation, and ENOSPC in an update. */
  hasLabels: boolean;
  /** Error answers that fit the injector's receive buffer; when more come all others of the batch are lost (F8). */
  answersMax: number;
  /** Flows in one dump datagram. */
  dumpRows: number;
}

export interface TwinOptions extends Partial<TwinKnobs> {
  now: () => number;
  random?: () => number;
}

/** A small seeded generator, for knobs that are probabilities. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A kernel in memory. The port is what the daemon sees; the other methods are what the world does to it. */
export class KernelTwin implements KernelPort {
  readonly knobs: TwinKnobs;
  readonly flows = new TwinFlows();
  readonly expectations = new TwinExpectations(this);
  readonly queue: EventQueue;
  readonly now: () => number;
  readonly random: () => number;
  /** Called before each request of a batch is carried out; a test lets traffic happen here, or throws. */
  beforeRequest: ((verb: number, m: Memory, at: number) => void) | undefined;
  /** Called at each call of the port (its name), for tests that crash at every effect. */
  beforeCall: ((call: string) => void) | undefined;
  /** Called after each request of our own batches, with what it came to. */
  afterRequest: ((verb: number, m: Memory, at: number, errno: number) => void) | undefined;
  /** Called when a flow ends by itself, by a packet, or by another program. */
  onEnd: ((flow: TwinFlow) => void) | undefined;
  /** Called when a packet, a rule or another program has changed a flow and an event tells of it. */
  onChange: ((flow: TwinFlow) => void) | undefined;
  /** Errno forced on the next requests of a verb; -1 loses the answer of a request that was carried out. */
  readonly forced: { verb: number; errno: number; times: number }[] = [];
  /** Requests carried out, by verb. */
  readonly requests = new Uint32Array(8);
  isBulk = false;
  #ids = new Map<string, number>();
  #lives = 0;
  #buckets = 65536;
  #walkAt = 0;
  #ahead: Memory[] = [];
  #isInterrupted = false;
  #scratch = allocateMemory(MAX_RECORD_BYTES);

  constructor(options: TwinOptions) {
    this.now = options.now;
    this.random = options.random ?? seededRandom(1);
    this.knobs = {
      eventBufferBytes: 64 << 20,
      noEnobufs: true,
      reliable: false,
      sameIdRate: 1,
      swapRate: 0,
      twiceRate: 0,
      maxFlows: Number.POSITIVE_INFINITY,
      helpers: new Set(['ftp', 'sip']),
      hasLabels: true,
      answersMax: Number.POSITIVE_INFINITY,
      dumpRows: 135,
      ...options,
    };
    const knobs = this.knobs;
    const random = this.random;
    this.queue = new EventQueue({
      get bufferBytes() {
        return knobs.eventBufferBytes;
      },
      get noEnobufs() {
        return knobs.noEnobufs;
      },
      get reliable() {
        return knobs.reliable;
      },
      get swapRate() {
        return knobs.swapRate;
      },
      random: () => random(),
    });
  }

  // --- what the world does -------------------------------------------------------------------------------

  /** Traffic makes a flow (NEW); undefined if the table is full or a tuple is taken. */
  born(m: Memory, at: number, options: { isDeaf?: boolean } = {}): TwinFlow | undefined {
    if (this.flows.count >= this.knobs.maxFlows) return undefined;
    if (this.lookup(originalKey(m, at)) !== undefined || this.lookup(replyKey(m, at)) !== undefined) {
      return undefined;
    }
    const flow = this.insert(m, at, { isDeaf: options.isDeaf ?? false });
    this.emit(EVENT_NEW, flow, SEEN_EVERYTHING, 0);
    return flow;
  }

  /** Traffic or a rule changes a flow; `seen` says what the partial UPDATE will carry. */
  change(flow: TwinFlow, seen: number, edit: (m: Memory, at: number) => void, portId = 0): void {
    copyRecord(flow.m, 0, this.#scratch, 0);
    edit(this.#scratch, 0);
    flow.m = cloneRecord(this.#scratch, 0);
    this.onChange?.(flow);
    this.emit(EVENT_UPDATE, flow, seen | SEEN_STATUS, portId);
  }

  /** Changes a flow without an event, as the kernel does with sequence adjustment. */
  changeSilently(flow: TwinFlow, edit: (m: Memory, at: number) => void): void {
    copyRecord(flow.m, 0, this.#scratch, 0);
    edit(this.#scratch, 0);
    flow.m = cloneRecord(this.#scratch, 0);
  }

  /** A flow ends (DESTROY). */
  die(flow: TwinFlow, portId = 0): void {
    if (flow.place < 0) return;
    this.onEnd?.(flow);
    this.emit(EVENT_DESTROY, flow, SEEN_STATUS, portId);
    this.flows.remove(flow);
    this.expectations.masterGone(flow);
  }

  /** A second packet loses the race for its tuple (F13): a hidden flow that ends with a DESTROY when it expires. */
  clash(winner: TwinFlow, m: Memory, at: number): TwinFlow {
    const loser = this.insert(m, at, { isDeaf: false, isLoser: true });
    loser.expiresAt = this.now() + 1000;
    if (originalKey(m, at) !== winner.original) throw new Error('a clash shares the original tuple');
    return loser;
  }

  /** The kernel's garbage collector takes what expired (F11: late). */
  collect(): void {
    for (const flow of [...this.flows]) if (flow.expiresAt <= this.now()) this.die(flow);
  }

  /** Another hash table size: what is being dumped is not whole (F12). */
  resize(buckets: number): void {
    this.#buckets = buckets;
    this.flows.shuffle(this.random);
  }

  /** The dump under way ends as if the socket had failed. */
  interruptDump(): void {
    this.#isInterrupted = true;
  }

  /** The live flow with this original tuple, as a test sees it: nothing is reaped. */
  find(m: Memory, at: number): TwinFlow | undefined {
    const flow = this.flows.byTuple.get(originalKey(m, at));
    return flow === undefined || flow.original !== originalKey(m, at) ? undefined : flow;
  }

  /** Another program's ctnetlink requests: its events are heard, under its port id. */
  executeAs(portId: number, batch: KernelBatch): void {
    for (let i = 0; i < batch.count; i++) this.#carryOut(batch, i, portId);
  }

  // --- the port ------------------------------------------------------------------------------------------

  dumpStart(): void {
    this.beforeCall?.('dumpStart');
    this.#walkAt = 0;
    this.#isInterrupted = false;
    this.#ahead = this.#readAhead();
  }

  dumpNext(sink: RowSink): number {
    this.beforeCall?.('dumpNext');
    if (this.#isInterrupted) return DUMP_INTERRUPTED;
    const rows = this.#ahead;
    // F10: the next datagram is filled now, and shown at the next call, whatever happens meanwhile.
    this.#ahead = this.#readAhead();
    for (const m of rows) sink(m, 0);
    return rows.length === 0 ? DUMP_DONE : DUMP_MORE;
  }

  buckets(): number {
    return this.#buckets;
  }

  room(): number {
    return Math.max(0, this.knobs.maxFlows - this.flows.count);
  }

  execute(batch: KernelBatch): void {
    this.beforeCall?.('execute');
    let errors = 0;
    for (let i = 0; i < batch.count; i++) {
      this.beforeRequest?.(batch.verb[i], batch.memory, batch.at[i]);
      this.#carryOut(batch, i, undefined);
      this.afterRequest?.(batch.verb[i], batch.memory, batch.at[i], batch.errno[i]);
      if (batch.errno[i] > 0) errors++;
    }
    if (errors > this.knobs.answersMax) this.#loseAnswers(batch);
  }

  eventsLost(): number {
    return this.queue.drops;
  }

  drain(sink: EventSink, budgetMs: number): boolean {
    this.beforeCall?.('drain');
    this.expectations.expire();
    // About a microsecond an event, as measured on the real one.
    return this.queue.drain(sink, Math.max(1, Math.ceil(budgetMs * 1000)));
  }

  setBulk(isBulk: boolean): void {
    this.isBulk = isBulk;
  }

  expectationDumpStart(): void {
    this.beforeCall?.('expectationDumpStart');
    this.expectations.dumpStart();
  }

  expectationDumpNext(sink: RowSink): number {
    this.beforeCall?.('expectationDumpNext');
    return this.expectations.dumpNext(sink);
  }

  createExpectation(m: Memory, at: number): number {
    this.beforeCall?.('createExpectation');
    return this.expectations.create(m, at, undefined);
  }

  updateExpectation(m: Memory, at: number): number {
    this.beforeCall?.('updateExpectation');
    return this.expectations.update(m, at);
  }

  deleteExpectation(m: Memory, at: number): number {
    this.beforeCall?.('deleteExpectation');
    return this.expectations.delete(m, at, undefined);
  }

  // --- inside --------------------------------------------------------------------------------------------

  /** The flow with this tuple in either direction; an expired one is reaped and not found (F11). */
  lookup(key: string): TwinFlow | undefined {
    const flow = this.flows.byTuple.get(key);
    if (flow === undefined || flow.expiresAt > this.now()) return flow;
    this.die(flow);
    return undefined;
  }

  /** Puts a flow into the table; the caller has looked for clashes. */
  insert(m: Memory, at: number, options: { isDeaf?: boolean; isLoser?: boolean }): TwinFlow {
    const original = originalKey(m, at);
    const copy = cloneRecord(m, at);
    const timeout = m.u8[at + OFF_HAS] & HAS_TIMEOUT ? m.u32[(at + OFF_TIMEOUT) >>> 2] : 600;
    const flow: TwinFlow = {
      m: copy,
      id: this.#nextId(original),
      original,
      reply: replyKey(m, at),
      expiresAt: this.now() + timeout * 1000,
      isDeaf: options.isDeaf ?? false,
      isLoser: options.isLoser ?? false,
      place: -1,
      owedSeen: 0,
      owesNew: false,
      isShown: false,
      isEndShown: false,
      bornAt: this.now(),
    };
    this.flows.add(flow);
    return flow;
  }

  /** Queues what the event socket would hear of a flow: partial, and not our own writes (portId undefined). */
  emit(kind: number, flow: TwinFlow, seen: number, portId: number | undefined): void {
    if (portId === undefined || flow.isDeaf) return;
    if (kind === EVENT_NEW && this.isBulk) return;
    const isDestroy = kind === EVENT_DESTROY;
    if (this.knobs.reliable && !isDestroy && flow.owesNew) kind = EVENT_NEW;
    const told = isDestroy ? seen : seen | flow.owedSeen;
    const named = this.writeShown(flow, this.#scratch, told, isDestroy);
    const status = (this.#statusOf(flow.m) | IPS_CONFIRMED | (flow.isLoser ? IPS_NAT_CLASH : 0)) >>> 0;
    const isHeard = this.queue.push(kind, this.#scratch, 0, named, portId, status, flow, isDestroy);
    flow.isUnheard = !isHeard;
    if (isDestroy || !this.knobs.reliable) return;
    flow.owedSeen = isHeard ? 0 : told;
    flow.owesNew = !isHeard && (kind === EVENT_NEW || flow.owesNew);
  }

  /** Writes what an event carries into `out`, and returns the SEEN_* bits it really has. */
  writeShown(flow: TwinFlow, out: Memory, seen: number, isDestroy: boolean): number {
    copyRecord(flow.m, 0, out, 0);
    const addr = addressBytes(out, 0);
    out.u8[OFF_HAS] = HAS_ID | (isDestroy ? 0 : HAS_TIMEOUT);
    out.u32[OFF_ID >>> 2] = flow.id;
    out.u32[OFF_TIMEOUT >>> 2] = isDestroy ? 0 : Math.max(0, Math.ceil((flow.expiresAt - this.now()) / 1000));
    if (out.u32[offMark(addr) >>> 2] !== 0) seen |= SEEN_MARK;
    if (findPart(out, 0, PART_HELPER) >= 0 && !isDestroy) seen |= SEEN_HELPER;
    if (isDestroy) {
      // A DESTROY tells the state only, and neither helper, labels nor master.
      seen =
        (seen & ~(SEEN_HELPER | SEEN_LABELS | SEEN_MASTER | SEEN_SEQADJ | SEEN_SYNPROXY)) | SEEN_PROTOINFO;
      out.u8[offProtoBits(addr)] &= PROTO_HAS_STATE;
    } else if ((seen & SEEN_PROTOINFO) === 0) {
      out.u8[offProtoBits(addr)] = 0;
      out.u8[offState(addr)] = 0;
    }
    cutParts(out, 0, seen);
    return seen;
  }

  /** Writes a flow as a dump row or a GET shows it. */
  writeRow(flow: TwinFlow, out: Memory, at: number): void {
    copyRecord(flow.m, 0, out, at);
    out.u8[at + OFF_HAS] = HAS_ID | HAS_TIMEOUT;
    out.u32[(at + OFF_ID) >>> 2] = flow.id;
    if (flow.isOffloaded) {
      out.u8[at + OFF_HAS] = HAS_ID;
      out.u32[(at + OFF_TIMEOUT) >>> 2] = 0;
      out.u32[(at + offState(addressBytes(out, at))) >>> 2] = 0;
      return;
    }
    out.u32[(at + OFF_TIMEOUT) >>> 2] = Math.max(0, Math.ceil((flow.expiresAt - this.now()) / 1000));
  }

  #statusOf(m: Memory): number {
    return m.u32[offStatus(addressBytes(m, 0)) >>> 2];
  }

  /** F1: the id depends on tuple and object address, and an address is used again at once. */
  #nextId(original: string): number {
    this.#lives++;
    const before = this.#ids.get(original);
    const isHeld =
      this.queue.waiting > 0 && this.queue.isOwed((f) => (f as TwinFlow | undefined)?.original === original);
    if (before !== undefined && !isHeld && this.random() < this.knobs.sameIdRate) return before;
    const id = Math.imul(this.#lives, 0x9e3779b1) >>> 0 || 1;
    this.#ids.set(original, id);
    return id;
  }

  #readAhead(): Memory[] {
    const rows: Memory[] = [];
    while (rows.length < this.knobs.dumpRows && this.#walkAt < this.flows.places) {
      const flow = this.flows.at(this.#walkAt++);
      if (flow === undefined || flow.isLoser) continue;
      if (flow.expiresAt <= this.now()) {
        this.die(flow); // F11: a dump reaps, and only then the DESTROY is sent
        continue;
      }
      this.writeRow(flow, this.#scratch, 0);
      flow.isShown = true;
      const row = cloneRecord(this.#scratch, 0);
      rows.push(row);
      if (this.random() < this.knobs.twiceRate) rows.push(row);
    }
    return rows;
  }

  #carryOut(batch: KernelBatch, i: number, portId: number | undefined): void {
    const verb = batch.verb[i];
    const at = batch.at[i];
    const m = batch.memory;
    const force = this.forced.find((f) => f.verb === verb && f.times > 0);
    if (force !== undefined) force.times--;
    if (force !== undefined && force.errno > 0) {
      batch.errno[i] = force.errno;
      return;
    }
    this.requests[verb]++;
    let errno = 0;
    if (verb === OP_CREATE) errno = createFlow(this, m, at, portId);
    else if (verb === OP_UPDATE) errno = updateFlow(this, m, at, portId);
    else if (verb === OP_RETIME) errno = retimeFlow(this, m, at, portId);
    else if (verb === OP_DELETE) errno = destroyFlow(this, m, at, portId);
    else if (verb === OP_GET) errno = this.#get(batch, i, originalKey(m, at));
    else if (verb === OP_GET_REPLY) errno = this.#get(batch, i, replyKey(m, at));
    batch.errno[i] = force === undefined ? errno : -1;
    if (force !== undefined) batch.foundAt[i] = -1;
  }

  #get(batch: KernelBatch, i: number, key: string): number {
    const flow = this.lookup(key);
    if (flow === undefined) return 2; // ENOENT
    const at = i * BATCH_STRIDE_BYTES;
    this.writeRow(flow, batch.found, at);
    flow.isShown = true;
    batch.foundAt[i] = at;
    return 0;
  }

  /** F8: of many error answers the first ones are readable; of all others nothing is known. */
  #loseAnswers(batch: KernelBatch): void {
    let readable = this.knobs.answersMax;
    for (let i = 0; i < batch.count; i++) {
      if (batch.errno[i] > 0 && readable > 0) readable--;
      else {
        batch.errno[i] = -1;
        batch.foundAt[i] = -1;
      }
    }
  }
}
