/**
 * Replicators with flow tables over a network twin, in one thread, by a virtual clock and a seed. The
 * harness plays the kernel (it changes own slots as events would), records every stream's image by itself,
 * and checks after each step: invariants 1, 2, 3, 7 and 13 of PROTOCOL.md, section 9.
 */
import { CounterMap } from '../../src/flow/counters.js';
import { seedFromText } from '../../src/flow/hash.js';
import { allocateMemory, lengthOf, OFF_KEY, offReplySrc } from '../../src/flow/record.js';
import type { PeerEvent, ReplicatorOptions, ReplicatorPorts } from '../../src/replication/ports.js';
import { Replicator } from '../../src/replication/replicator.js';
import { FlowTable } from '../../src/table/flow-table.js';
import {
  DEAD,
  DIRTY,
  FRESH,
  KERNEL,
  OWNER_SELF,
  OWNER_UNCLASSIFIED,
  SHADOW,
} from '../../src/table/slot-bits.js';
import { FrameWriter } from '../../src/wire/frame.js';
import { type Image, ImageLog } from './image-model.js';
import { NetworkTwin } from './network-twin.js';
import { Random } from './random.js';
import { writeSample } from './sample-records.js';

const SEED = seedFromText('simulation');
const hex = (u8: Uint8Array): string => Buffer.from(u8.buffer, u8.byteOffset, u8.length).toString('hex');

/** What a test sets otherwise than the harness does. */
export interface MoreOptions {
  ports?: Partial<ReplicatorPorts>;
  options?: Partial<ReplicatorOptions>;
}

/** One run of a node's daemon. */
export class SimNode {
  readonly table: FlowTable;
  readonly replicator: Replicator;
  readonly counters = new CounterMap();
  readonly log = new ImageLog(SEED);
  readonly events: PeerEvent[] = [];
  readonly conflicts: number[] = [];
  readonly id: string;
  readonly name: string;
  readonly incarnation: Uint8Array;
  readonly bootId: string;
  isUp = true;
  readonly #scratch = allocateMemory(1024);

  constructor(cluster: SimCluster, name: string, bootId: string, maxFlows: number, more: MoreOptions) {
    this.name = name;
    this.bootId = bootId;
    this.incarnation = cluster.random.bytes(16);
    this.id = hex(this.incarnation);
    this.table = new FlowTable({ seed: SEED, maxFlows });
    this.replicator = new Replicator(
      {
        table: this.table,
        now: () => cluster.now,
        random: () => cluster.random.next(),
        randomBytes: (n) => cluster.random.bytes(n),
        send: (frame, length) => {
          this.log.record(frame.slice(0, length));
          cluster.network.send(name, frame, length);
        },
        counters: this.counters,
        log: () => undefined,
        onPeer: (event) => this.events.push(event),
        onConflict: (slot) => this.conflicts.push(slot),
        ...more.ports,
      },
      { node: name, cluster: 'sim', incarnation: this.incarnation, bootId, mtu: 1500, ...more.options },
    );
  }

  /** The kernel says NEW of flow `n` in variant `v`. */
  create(n: number, v: number): void {
    const table = this.table;
    writeSample(this.#scratch, 0, n, v);
    const slot = table.find(this.#scratch, 0);
    if (slot < 0) {
      const made = table.insert(this.#scratch, 0, OWNER_SELF, KERNEL);
      if (made >= 0) table.markDirty(made);
    } else if (table.owner(slot) === OWNER_SELF) {
      if (!table.setRecord(slot, this.#scratch, 0)) return;
      if (table.bits(slot) & DEAD) table.clearBits(slot, DEAD);
      table.setBits(slot, FRESH | KERNEL | DIRTY);
    } else {
      const made = table.insert(this.#scratch, 0, OWNER_SELF, KERNEL | FRESH);
      if (made >= 0) table.markDirty(made);
    }
  }

  /** The kernel says UPDATE; nothing happens if the flow is not own and alive. */
  update(n: number, v: number): void {
    const slot = this.#own(n, v);
    if (slot >= 0 && this.table.setRecord(slot, this.#scratch, 0)) this.table.markDirty(slot);
  }

  destroy(n: number): void {
    const slot = this.#own(n, 0);
    if (slot < 0) return;
    this.table.clearBits(slot, KERNEL);
    if (this.table.hasImage(slot)) this.table.setBits(slot, DEAD | DIRTY);
    else this.table.remove(slot);
  }

  /** Own flows that live, key to durable bytes: what the replicas must be. */
  mirror(): Image {
    return this.image(OWNER_SELF, (slot) => (this.table.bits(slot) & DEAD) === 0);
  }

  /** The slots of an owner of which its stream has spoken. */
  replica(owner: number): Image {
    return this.image(owner, (slot) => this.table.hasImage(slot));
  }

  image(owner: number, isIn: (slot: number) => boolean): Image {
    const image: Image = new Map();
    const { memory } = this.table;
    for (let slot = 0; slot < this.table.slotLimit; slot++) {
      if (!this.table.isUsed(slot) || this.table.owner(slot) !== owner || !isIn(slot)) continue;
      const at = this.table.recordAt(slot);
      const addr = (memory.u8[at + OFF_KEY] & 0x3f) === 10 ? 16 : 4;
      const key = hex(memory.u8.subarray(at + OFF_KEY, at + offReplySrc(addr)));
      image.set(key, hex(memory.u8.subarray(at + OFF_KEY, at + lengthOf(memory, at))));
    }
    return image;
  }

  /** The first dump of a daemon that starts over a kernel with these flows: unclassified, with an image. */
  dump(flows: ReadonlyMap<number, number>): void {
    for (const [n, v] of flows) {
      writeSample(this.#scratch, 0, n, v);
      const slot = this.table.insert(this.#scratch, 0, OWNER_UNCLASSIFIED, KERNEL);
      this.table.currentHash(slot);
      this.table.setImage(slot, this.table.hash.lo, this.table.hash.hi);
    }
  }

  /** Nobody claimed what is still unclassified: it is own, and the stream may speak. */
  classify(): void {
    for (let slot = 0; slot < this.table.slotLimit; slot++) {
      if (this.table.isUsed(slot) && this.table.owner(slot) === OWNER_UNCLASSIFIED) {
        this.table.setOwner(slot, OWNER_SELF);
      }
    }
    for (const [key, bytes] of this.replica(OWNER_SELF)) this.log.start.set(key, bytes);
    this.replicator.setMirrorReady();
  }

  /** A frame as this node could send it, or who knows its incarnation on a link without a seal. */
  forge(frameClass: number, counter: number, payload: Uint8Array): Uint8Array {
    const w = new FrameWriter('sim', this.name, this.incarnation);
    const frame = new Uint8Array(w.headBytes + payload.length);
    frame.set(payload, w.headBytes);
    w.finish(frame, frameClass, counter, payload.length);
    return frame;
  }

  /** A number that changes with the table's contents. */
  digest(): string {
    const { digests, owners } = this.table;
    let text = `${this.table.count}/${this.table.dirtyCount}/${this.table.kernelCount}`;
    for (const owner of [0, 1, ...owners.list()]) {
      digests.sum(owner, 0, 0);
      text += `/${owner}:${digests.count},${digests.lo},${digests.hi}`;
    }
    return text;
  }

  #own(n: number, v: number): number {
    writeSample(this.#scratch, 0, n, v);
    const slot = this.table.find(this.#scratch, 0);
    if (slot < 0 || this.table.owner(slot) !== OWNER_SELF) return -1;
    return (this.table.bits(slot) & (DEAD | SHADOW)) === 0 ? slot : -1;
  }
}

/** What the harness knows of one replica: the image it must be, and up to which sequence that was brought. */
interface Watched {
  image: Image;
  at: number;
  checkedAt: number;
}

export class SimCluster {
  now = 1000;
  readonly random: Random;
  readonly network: NetworkTwin;
  readonly nodes: SimNode[] = [];
  readonly seed: number;
  /** Every run of every node, by incarnation. */
  readonly runs = new Map<string, SimNode>();
  /** Off where frames are forged or corrupted: without a seal a forged record stands until the next MARK. */
  isChecking = true;
  readonly #watched = new Map<string, Watched>();
  readonly #maxFlows: number;

  constructor(seed: number, maxFlows = 8192) {
    this.seed = seed;
    this.random = new Random(seed);
    this.network = new NetworkTwin(this.random);
    this.network.now = this.now;
    this.#maxFlows = maxFlows;
  }

  start(name: string, bootId = `boot-${name}`, more: MoreOptions = {}): SimNode {
    const node = new SimNode(this, name, bootId, this.#maxFlows, more);
    this.nodes.push(node);
    this.runs.set(node.id, node);
    this.network.attach(name, (u8, length) => this.#deliver(node, u8, length));
    return node;
  }

  /** kill -9: the node says nothing any more, and forgets everything but its kernel. */
  kill(node: SimNode): void {
    node.isUp = false;
    this.network.detach(node.name);
    this.nodes.splice(this.nodes.indexOf(node), 1);
  }

  /** `ms` milliseconds, one at a time; `act` runs in each, before the nodes' turns. */
  run(ms: number, act?: () => void): void {
    for (let i = 0; i < ms; i++) {
      this.now++;
      this.network.run(this.now);
      act?.();
      for (const node of this.nodes) {
        node.replicator.tick(this.now);
        node.replicator.flush(this.now);
      }
      this.check();
    }
  }

  /** Runs until `isDone`; throws with the seed if that takes too long. */
  runUntil(isDone: () => boolean, maxMs: number, what: string): number {
    for (let ms = 0; ms < maxMs; ms++) {
      if (isDone()) return ms;
      this.run(1);
    }
    throw this.failure(`not within ${maxMs} ms: ${what}`);
  }

  /** Every node proved every other's replica, and told it so. */
  isQuiet(): boolean {
    return this.nodes.every((node) => {
      const peers = node.replicator.peers().filter((p) => p.alive);
      if (peers.length !== this.nodes.length - 1 || node.table.dirtyCount > 0) return false;
      return peers.every(
        (p) =>
          p.verdict === 'proven' &&
          p.myVerdict === 'proven' &&
          p.appliedSequence === node.replicator.sequence,
      );
    });
  }

  /** Replicas equal mirrors byte for byte. */
  expectEqual(): void {
    for (const node of this.nodes) {
      for (const peer of node.replicator.peers()) {
        const owner = this.runs.get(hex(peer.incarnation)) as SimNode;
        if (owner.isUp)
          this.#compare(node.replica(peer.owner), owner.mirror(), `${node.name} of ${owner.name}`);
      }
    }
  }

  /** Invariants 1, 2 and 3. */
  check(): void {
    // Without checks the images are brought up to date later.
    if (!this.isChecking) return;
    for (const node of this.nodes) for (const peer of node.replicator.peers()) this.#checkReplica(node, peer);
  }

  failure(text: string): Error {
    return new Error(`seed ${this.seed}, at ${this.now} ms: ${text}`);
  }

  #checkReplica(node: SimNode, peer: ReturnType<Replicator['peers']>[number]): void {
    const owner = this.runs.get(hex(peer.incarnation)) as SimNode;
    const id = `${node.id}:${owner.id}`;
    let watched = this.#watched.get(id);
    if (watched === undefined) {
      watched = { image: new Map(owner.log.start), at: 0, checkedAt: -1 };
      this.#watched.set(id, watched);
    }
    if (peer.receivedSequence < watched.at)
      throw this.failure(`${node.name} went back in ${owner.name}'s stream`);
    // What it started from is known when it first speaks.
    if (watched.at === 0 && peer.receivedSequence > 0) watched.image = new Map(owner.log.start);
    owner.log.advance(watched.image, watched.at, peer.receivedSequence);
    watched.at = peer.receivedSequence;
    if (peer.myVerdict !== 'proven' || watched.checkedAt === watched.at) return;
    // Large images are compared now and then only: comparing costs more than the simulation.
    if (watched.image.size > 500 && this.now % 50 !== 0) return;
    watched.checkedAt = watched.at;
    this.#compare(node.replica(peer.owner), watched.image, `${node.name} of ${owner.name} at ${watched.at}`);
  }

  #compare(replica: Image, image: Image, whose: string): void {
    if (replica.size !== image.size) {
      throw this.failure(`replica at ${whose}: ${replica.size} flows, want ${image.size}`);
    }
    for (const [key, bytes] of image) {
      if (replica.get(key) !== bytes) {
        throw this.failure(`replica at ${whose}: ${key} is ${replica.get(key)}, want ${bytes}`);
      }
    }
  }

  /** Invariant 13: what an unproven incarnation sends changes nothing (proving it may). */
  #deliver(node: SimNode, u8: Uint8Array, length: number): void {
    const { replicator } = node;
    const known = replicator.peers().map((p) => hex(p.incarnation));
    const text = hex(u8.subarray(0, length));
    const isProven = known.some((id) => text.includes(id));
    const before = isProven ? '' : node.digest();
    replicator.receive(u8, 0, length, 0, this.now);
    if (isProven || replicator.peers().length !== known.length) return;
    const isSame = replicator.peers().every((p) => known.includes(hex(p.incarnation)));
    if (isSame && node.digest() !== before) throw this.failure(`${node.name} believed a stranger`);
  }
}
