/** Somebody on the wire: replays what was ever sent, floods with HELLOs, and, with the key, forges in a peer's name. */
import {
  ControlCodec,
  type ControlMessage,
  NONCE_BYTES,
  OWN_VERSIONS,
  REQUEST_GROUPS,
  REQUEST_SCOPES,
} from '../../../src/wire/control-messages.js';
import { CLASS_CONTROL, FrameWriter } from '../../../src/wire/frame.js';
import { CONTROL_ACK, CONTROL_HELLO, CONTROL_REQUEST, SEGMENTS } from '../../../src/wire/ops.js';
import type { Random } from '../random.js';
import type { Cluster } from './cluster.js';
import type { DaemonRun } from './daemon-run.js';
import { peekHead } from './network.js';

const HEAD_ROOM_BYTES = 2048;

export class Adversary {
  readonly #cluster: Cluster;
  readonly #random: Random;
  readonly #codec = new ControlCodec();
  #strangers = 0;

  constructor(cluster: Cluster, random: Random) {
    this.#cluster = cluster;
    this.#random = random;
  }

  /** Any frame of the past, to anybody, on any link. */
  replay(): void {
    const { network } = this.#cluster;
    const { recorded, receivers } = network;
    if (recorded.length === 0 || receivers.length === 0) return;
    const datagram = recorded[this.#random.below(recorded.length)];
    const to = receivers[this.#random.below(receivers.length)];
    network.inject(to, { ...datagram, link: this.#random.below(network.links) });
  }

  /** A HELLO of a node that nobody knows. */
  hello(): void {
    const to = this.#victim();
    if (to === undefined) return;
    const name = `stranger${this.#strangers++ % 100}`;
    this.#forge(
      to,
      name,
      this.#random.bytes(16),
      { type: CONTROL_HELLO, nonce: this.#random.bytes(NONCE_BYTES), versions: OWN_VERSIONS },
      1,
    );
  }

  /** An acknowledgement in another node's name, of something that may never have been sent. */
  ack(): void {
    const [from, to] = this.#pair();
    if (from === undefined || to === undefined) return;
    const applied = to.core.replicator.sequence + 1 + this.#random.below(5000);
    const acks = [{ incarnation: to.incarnation, applied }];
    this.#forge(to, from.name, from.incarnation, { type: CONTROL_ACK, acks }, this.#counter(from));
  }

  /** A request for everything in another node's name. */
  request(): void {
    const [from, to] = this.#pair();
    if (from === undefined || to === undefined) return;
    const isAll = this.#random.chance(0.5);
    const message: ControlMessage = {
      type: CONTROL_REQUEST,
      to: to.incarnation,
      kind: isAll ? REQUEST_SCOPES : REQUEST_GROUPS,
      bitmap: isAll ? new Uint8Array(SEGMENTS / 8).fill(0xff) : new Uint8Array(0),
    };
    this.#forge(to, from.name, from.incarnation, message, this.#counter(from));
  }

  /** A little ahead of what is sent now: it is no replay, and shuts out one true frame at most. */
  #counter(from: DaemonRun): number {
    return this.#cluster.watch.lastControl(from) + 1 + this.#random.below(200);
  }

  #victim(): DaemonRun | undefined {
    const runs = this.#cluster.liveRuns;
    return runs[this.#random.below(Math.max(1, runs.length))];
  }

  #pair(): [DaemonRun | undefined, DaemonRun | undefined] {
    const from = this.#victim();
    const to = this.#victim();
    return from === to ? [undefined, undefined] : [from, to];
  }

  #forge(
    to: DaemonRun,
    name: string,
    incarnation: Uint8Array,
    message: ControlMessage,
    counter: number,
  ): void {
    const writer = new FrameWriter('sim', name, incarnation, this.#cluster.cipher);
    const payload = this.#codec.encode(message);
    const frame = new Uint8Array(HEAD_ROOM_BYTES + payload.length);
    frame.set(payload, writer.headBytes);
    const length = writer.finish(frame, CLASS_CONTROL, counter, payload.length);
    const bytes = frame.slice(0, length);
    const link = this.#random.below(this.#cluster.network.links);
    this.#cluster.network.inject(to, { bytes, head: peekHead(bytes), link, arrivedAt: 0 });
  }
}
