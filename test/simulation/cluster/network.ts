/**
 * The links of a cluster: every datagram goes to every other node of its link, or is lost, doubled, delayed,
 * overtaken, damaged or cut off, as the faults that are on at the moment say.
 */
import type { Random } from '../random.js';
import type { Schedule } from './schedule.js';

/** What stands before the payload of a frame. */
export interface FrameHead {
  /** Whose frame it says it is, hex. */
  readonly incarnation: string;
  readonly keyId: number;
  /** 0 data, 1 control. */
  readonly frameClass: number;
  readonly counter: number;
  readonly payloadAt: number;
}

export interface Datagram {
  readonly bytes: Uint8Array;
  readonly head: FrameHead;
  readonly link: number;
  arrivedAt: number;
}

/** What is done to the datagrams that `covers` names. Probabilities in [0, 1], times in milliseconds. */
export interface LinkFault {
  covers(from: string, to: string, link: number, frameClass: number): boolean;
  readonly loss?: number;
  /** Mean length of a burst of losses, datagrams; 1: losses are independent. */
  readonly burst?: number;
  readonly duplication?: number;
  /** Share of datagrams that take up to `reorderMs` longer. */
  readonly reordering?: number;
  readonly reorderMs?: number;
  readonly delayMs?: number;
  readonly corruption?: number;
  readonly truncation?: number;
}

export interface Receiver {
  readonly name: string;
  arrive(datagram: Datagram): void;
}

const BASE_DELAY_MS = 0.2;
/** Frames that the adversary has recorded and may send again. */
const RECORDED_MAX = 400;

/** Reads a frame's head without the code under test. */
export function peekHead(u8: Uint8Array): FrameHead {
  let at = 2;
  for (let i = 0; i < 2; i++) at += u8[at] === 0xd9 ? 2 + u8[at + 1] : 1 + (u8[at] & 31);
  const incarnation = Buffer.from(u8.buffer, u8.byteOffset + at + 2, 16).toString('hex');
  at += 18;
  const keyId = u8[at] === 0xcc ? u8[at + 1] : u8[at];
  at += u8[at] === 0xcc ? 2 : 1;
  const frameClass = u8[at++];
  let counter = 0;
  for (let i = 1; i <= 8; i++) counter = counter * 256 + u8[at + i];
  return { incarnation, keyId, frameClass, counter, payloadAt: at + 12 };
}

export class Network {
  readonly links: number;
  readonly faults: LinkFault[] = [];
  readonly recorded: Datagram[] = [];
  /** A sender hears its own multicast. */
  isLooping = false;
  sentBytes = 0;
  readonly #receivers: Receiver[] = [];
  readonly #bursts = new Map<string, boolean>();
  readonly #schedule: Schedule;
  readonly #random: Random;

  constructor(schedule: Schedule, random: Random, links: number) {
    this.#schedule = schedule;
    this.#random = random;
    this.links = links;
  }

  attach(receiver: Receiver): void {
    this.#receivers.push(receiver);
  }

  detach(receiver: Receiver): void {
    const at = this.#receivers.indexOf(receiver);
    if (at >= 0) this.#receivers.splice(at, 1);
  }

  /** True if a fault can keep what `from` sends from `to`, or change it. */
  isDisturbed(from: string, to: string): boolean {
    return this.faults.some((fault) => {
      for (let link = 0; link < this.links; link++) {
        if (fault.covers(from, to, link, 0) || fault.covers(from, to, link, 1)) return true;
      }
      return false;
    });
  }

  /** The bytes are copied; link -1 is all links. */
  send(from: Receiver, frame: Uint8Array, length: number, link: number): void {
    const bytes = frame.slice(0, length);
    const head = peekHead(bytes);
    for (let l = 0; l < this.links; l++) {
      if (link >= 0 && link !== l) continue;
      this.sentBytes += length;
      const datagram = { bytes, head, link: l, arrivedAt: 0 };
      this.#record(datagram);
      for (const to of this.#receivers)
        if (to !== from || this.isLooping) this.#carry(from.name, to, datagram);
    }
  }

  /** Puts a datagram of the adversary before a node; faults do not touch it. */
  inject(to: Receiver, datagram: Datagram): void {
    this.#schedule.after(BASE_DELAY_MS, () => this.#arrive(to, { ...datagram }));
  }

  get receivers(): readonly Receiver[] {
    return this.#receivers;
  }

  #record(datagram: Datagram): void {
    if (this.recorded.length < RECORDED_MAX) this.recorded.push(datagram);
    else if (this.#random.chance(0.02)) this.recorded[this.#random.below(RECORDED_MAX)] = datagram;
  }

  #carry(from: string, to: Receiver, datagram: Datagram): void {
    let delay = BASE_DELAY_MS;
    let copies = 1;
    let { bytes } = datagram;
    for (const fault of this.faults) {
      if (!fault.covers(from, to.name, datagram.link, datagram.head.frameClass)) continue;
      if (this.#isLost(fault, `${from}>${to.name}/${datagram.link}`)) return;
      if (fault.duplication && this.#random.chance(fault.duplication)) copies++;
      delay += fault.delayMs ?? 0;
      if (fault.reordering && this.#random.chance(fault.reordering)) {
        delay += this.#random.next() * (fault.reorderMs ?? 1);
      }
      if (fault.corruption && this.#random.chance(fault.corruption)) {
        bytes = bytes.slice();
        bytes[this.#random.below(bytes.length)] ^= 1 << this.#random.below(8);
      }
      if (fault.truncation && this.#random.chance(fault.truncation)) {
        bytes = bytes.slice(0, this.#random.below(bytes.length));
      }
    }
    for (let i = 0; i < copies; i++) {
      const copy = { ...datagram, bytes };
      this.#schedule.after(delay + i * 0.1, () => this.#arrive(to, copy));
    }
  }

  #arrive(to: Receiver, datagram: Datagram): void {
    if (!this.#receivers.includes(to)) return;
    datagram.arrivedAt = this.#schedule.now;
    to.arrive(datagram);
  }

  #isLost(fault: LinkFault, path: string): boolean {
    const loss = fault.loss ?? 0;
    if (loss === 0) return false;
    const burst = fault.burst ?? 1;
    if (burst <= 1 || loss >= 1) return this.#random.chance(loss);
    // Two states: in a burst all is lost; bursts begin so often that the mean is `loss`.
    const isIn = this.#bursts.get(path) ?? false;
    const next = isIn ? !this.#random.chance(1 / burst) : this.#random.chance(loss / (burst * (1 - loss)));
    this.#bursts.set(path, next);
    return next;
  }
}
