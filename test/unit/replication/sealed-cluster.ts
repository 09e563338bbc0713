/**
 * Replicators with flow tables over links in memory, sealed: every datagram is delivered a millisecond later on its
 * own link, kept for replays, and can be cut off by sender, receiver and link.
 */
import { CounterMap } from '../../../src/flow/counters.js';
import { seedFromText } from '../../../src/flow/hash.js';
import { allocateMemory } from '../../../src/flow/record.js';
import type { PeerEvent } from '../../../src/replication/ports.js';
import { Replicator } from '../../../src/replication/replicator.js';
import { FlowTable } from '../../../src/table/flow-table.js';
import { KERNEL, OWNER_SELF } from '../../../src/table/slot-bits.js';
import type { Cipher } from '../../../src/wire/cipher.js';
import { CipherTwin } from '../../simulation/cipher-twin.js';
import { Random } from '../../simulation/random.js';
import { writeSample } from '../../simulation/sample-records.js';

const SEED = seedFromText('sealed');

export interface Sent {
  from: string;
  link: number;
  bytes: Uint8Array;
}

export interface NodeOptions {
  cipher?: Cipher | undefined;
  settings?: [string, string][];
  cluster?: string;
}

export class SealedNode {
  readonly table = new FlowTable({ seed: SEED, maxFlows: 8192 });
  readonly counters = new CounterMap();
  readonly events: PeerEvent[] = [];
  readonly lines: string[] = [];
  readonly incarnation: Uint8Array;
  readonly replicator: Replicator;
  readonly name: string;
  readonly #scratch = allocateMemory(1024);

  constructor(cluster: SealedCluster, name: string, options: NodeOptions) {
    this.name = name;
    this.incarnation = cluster.random.bytes(16);
    const { cipher, settings } = options;
    this.replicator = new Replicator(
      {
        table: this.table,
        now: () => cluster.now,
        random: () => cluster.random.next(),
        randomBytes: (n) => cluster.random.bytes(n),
        send: (frame, length, link) => cluster.send(this, frame.slice(0, length), link),
        ...(cipher === undefined ? {} : { cipher }),
        ...(settings === undefined ? {} : { settings: () => settings }),
        counters: this.counters,
        log: (_level, text) => this.lines.push(text),
        onPeer: (event) => this.events.push(event),
        onConflict: () => undefined,
      },
      {
        node: name,
        cluster: options.cluster ?? 'sealed',
        incarnation: this.incarnation,
        bootId: `boot-${name}`,
        mtu: 1500,
        links: cluster.links,
      },
    );
  }

  create(n: number, v: number): void {
    writeSample(this.#scratch, 0, n, v);
    const known = this.table.find(this.#scratch, 0);
    if (known >= 0 && !this.table.setRecord(known, this.#scratch, 0)) return;
    const slot = known >= 0 ? known : this.table.insert(this.#scratch, 0, OWNER_SELF, KERNEL);
    this.table.markDirty(slot);
  }

  /** A number that changes with the table's contents, by owner. */
  digest(): string {
    const { digests, owners } = this.table;
    const sums = [0, 1, ...owners.list()].map((owner) => {
      digests.sum(owner, 0, 0);
      return `${owner}:${digests.count},${digests.lo},${digests.hi}`;
    });
    return `${this.table.count}/${sums.join('/')}`;
  }

  peer(name: string) {
    return this.replicator.peers().find((p) => p.node === name);
  }

  isProvenBy(name: string): boolean {
    const peer = this.peer(name);
    return peer?.verdict === 'proven' && peer.verdictSequence > 0 && this.table.dirtyCount === 0;
  }

  /** Counters, as one text: what hostile input may change. */
  count(reason: string): number {
    return this.counters.get(reason);
  }
}

export class SealedCluster {
  now = 1000;
  readonly links: number;
  readonly random: Random;
  readonly nodes: SealedNode[] = [];
  /** Everything that was sent. */
  readonly sent: Sent[] = [];
  /** "from>to@link" that is not delivered; "*" for any name. */
  readonly cuts = new Set<string>();
  #queue: { node: SealedNode; sent: Sent; link: number }[] = [];

  constructor(seed: number, links = 1) {
    this.random = new Random(seed);
    this.links = links;
  }

  start(name: string, options: NodeOptions = { cipher: new CipherTwin() }): SealedNode {
    const node = new SealedNode(this, name, options);
    this.nodes.push(node);
    node.replicator.setMirrorReady();
    return node;
  }

  kill(node: SealedNode): void {
    this.nodes.splice(this.nodes.indexOf(node), 1);
  }

  send(from: SealedNode, bytes: Uint8Array, link: number): void {
    const links = link >= 0 ? [link] : Array.from({ length: this.links }, (_, i) => i);
    for (const each of links) {
      const sent = { from: from.name, link: each, bytes };
      this.sent.push(sent);
      for (const node of this.nodes) {
        if (node !== from && !this.#isCut(from.name, node.name, each)) {
          this.#queue.push({ node, sent, link: each });
        }
      }
    }
  }

  run(ms: number, act?: () => void): void {
    for (let i = 0; i < ms; i++) {
      this.now++;
      const queue = this.#queue;
      this.#queue = [];
      for (const { node, sent, link } of queue) this.inject(node, sent.bytes, link);
      act?.();
      for (const node of this.nodes) {
        node.replicator.tick(this.now);
        node.replicator.flush(this.now);
      }
    }
  }

  /** Gives a node a datagram. */
  inject(node: SealedNode, bytes: Uint8Array, link = 0): void {
    node.replicator.receive(bytes, 0, bytes.length, link, this.now);
  }

  /** Runs until `condition`; throws when it does not come in `ms`. */
  runUntil(condition: () => boolean, ms: number, what: string): number {
    for (let i = 0; i < ms; i++) {
      if (condition()) return i;
      this.run(1);
    }
    throw new Error(`not in ${ms} ms: ${what}`);
  }

  #isCut(from: string, to: string, link: number): boolean {
    return [`${from}>${to}`, `*>${to}`, `${from}>*`, '*>*'].some((pair) => this.cuts.has(`${pair}@${link}`));
  }
}

/** Two nodes that hold fifty flows of the first, proven. */
export function sealedPair(
  seed: number,
  links = 1,
): { cluster: SealedCluster; a: SealedNode; b: SealedNode } {
  const cluster = new SealedCluster(seed, links);
  const [a, b] = [cluster.start('a'), cluster.start('b')];
  a.replicator.setRole('primary', 1);
  for (let n = 0; n < 50; n++) a.create(n, 1);
  settle(cluster, a);
  return { cluster, a, b };
}

/** Until every other node has proven what `node` said. */
export function settle(cluster: SealedCluster, node: SealedNode, ms = 5000): void {
  const others = cluster.nodes.filter((n) => n !== node && n.name !== node.name);
  cluster.runUntil(() => others.every((n) => node.isProvenBy(n.name)), ms, `${node.name} is proven`);
  cluster.run(250);
  cluster.runUntil(() => others.every((n) => node.isProvenBy(n.name)), ms, `${node.name} stays proven`);
}
