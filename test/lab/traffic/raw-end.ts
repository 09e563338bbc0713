/** The ends of ICMP and GRE flows: a question every so often, and exactly that as the answer. */
import { Conversation } from './conversation.js';
import { greAddress, type Kind } from './kinds.js';
import { Questions } from './questions.js';
import { RawSocket } from './raw-socket.js';

const PAUSE_MS = 100;
/** A ping's number has 16 bits. */
const QUESTIONS_MAX = 0xffff;
const IPPROTO_ICMP = 1; // linux/in.h, and the next two
const IPPROTO_GRE = 47;
const IPPROTO_ICMPV6 = 58;
/** Identifiers of the pings. */
const FIRST_ID = 0x4000;

/** Asks by packets of any protocol, in turn: the next question when the last one was answered, or was lost. */
export abstract class Asker extends Conversation {
  readonly #questions = new Questions(QUESTIONS_MAX);
  #dueMs: number;

  constructor(kind: Kind, number: number) {
    super(kind, number, true);
    this.#dueMs = performance.now() + (number % 50) * (PAUSE_MS / 50);
  }

  protected abstract say(count: number): void;

  protected get isReady(): boolean {
    return true;
  }

  override tick(now: number): void {
    if (this.loss !== undefined || !this.isReady || now < this.#dueMs) return;
    if (this.#questions.isWaiting(now)) return;
    this.#dueMs = now + PAUSE_MS;
    this.say(this.#questions.ask(now));
  }

  override get waitsFor(): string {
    return this.isReady ? String(this.#questions) : 'its handshake';
  }

  /** An answer came: to a question that waits, or to one that was answered before. */
  protected answered(count: number): void {
    const askedMs = this.#questions.answered(count);
    if (askedMs !== undefined) this.talked(askedMs, performance.now());
  }
}

function internetChecksum(data: Buffer): number {
  let sum = 0;
  for (let i = 0; i < data.length; i += 2) sum += data.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** One long ping: the same identifier all along. */
class Ping extends Asker {
  constructor(
    kind: Kind,
    number: number,
    private readonly socket: RawSocket,
  ) {
    super(kind, number);
  }

  protected override say(count: number): void {
    const isV6 = this.kind.protocol === 'icmpv6';
    const packet = Buffer.alloc(32, this.number);
    packet[0] = isV6 ? 128 : 8;
    packet[1] = 0;
    packet.writeUInt16BE(0, 2);
    packet.writeUInt16BE(FIRST_ID + this.number, 4);
    packet.writeUInt16BE(count, 6);
    // The kernel writes ICMPv6 checksums itself.
    if (!isV6) packet.writeUInt16BE(internetChecksum(packet), 2);
    this.socket.send(packet, this.kind.target);
  }

  take(packet: Buffer): void {
    if (packet.length !== 32 || packet.subarray(8).some((byte) => byte !== this.number)) {
      this.lose(`answered with another payload: ${packet.toString('hex')}`);
    } else this.answered(packet.readUInt16BE(6));
  }
}

/** A plain GRE packet (version 0, no key): a header of 4 bytes, then text. */
function grePacket(text: string): Buffer {
  return Buffer.concat([Buffer.from([0, 0, 0x08, 0]), Buffer.from(text)]);
}

/** A GRE flow from an address of its own. */
class GreFlow extends Asker {
  readonly #socket: RawSocket;

  constructor(kind: Kind, number: number) {
    super(kind, number);
    this.#socket = new RawSocket(false, IPPROTO_GRE, greAddress(number));
  }

  protected override say(count: number): void {
    this.#socket.send(grePacket(`${this.number} ${count}`), this.kind.target);
  }

  override tick(now: number): void {
    for (let packet = this.#socket.receive(); packet !== undefined; packet = this.#socket.receive()) {
      const [number, count] = packet.data.toString('latin1', 4).split(' ').map(Number);
      if (number !== this.number) this.lose(`answered "${packet.data.toString('latin1', 4)}"`);
      this.answered(count);
    }
    super.tick(now);
  }
}

/** Reads a raw socket to empty, again and again. */
export type Pump = () => void;

/** Opens all flows of a kind of ping: they share a socket. */
export function openPings(kind: Kind, count: number): { conversations: Conversation[]; pump: Pump } {
  const isV6 = kind.protocol === 'icmpv6';
  const socket = new RawSocket(isV6, isV6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
  const conversations = Array.from({ length: count }, (_, number) => new Ping(kind, number, socket));
  const pump = () => {
    for (let packet = socket.receive(); packet !== undefined; packet = socket.receive()) {
      const { data } = packet;
      if (data[0] === (isV6 ? 129 : 0)) conversations[data.readUInt16BE(4) - FIRST_ID]?.take(data);
    }
  };
  return { conversations, pump };
}

/** Opens one GRE flow. */
export function openGre(kind: Kind, number: number): Conversation {
  return new GreFlow(kind, number);
}

/** Says back every GRE packet. */
export function echoGre(): Pump {
  const socket = new RawSocket(false, IPPROTO_GRE);
  return () => {
    for (let packet = socket.receive(); packet !== undefined; packet = socket.receive()) {
      socket.send(packet.data, packet.source);
    }
  };
}
