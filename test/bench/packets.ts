/** The packets of a short conversation, TCP or UDP, as both ends say them, with right checksums. */
import { DatagramVector } from '../../native/structs.js';

/** Who says a packet. */
export type End = 'client' | 'server';

/** One packet of every conversation. A `wait` before it is half a round trip; without it follows at once. */
export interface Step {
  readonly end: End;
  readonly waits: boolean;
  /** TCP flags; 0: the packet is UDP. */
  readonly flags: number;
  readonly sequence: number;
  readonly acknowledged: number;
  readonly payloadBytes: number;
}

const IPPROTO_TCP = 6; // linux/in.h, and the next one
const IPPROTO_UDP = 17;
const FIN = 1; // RFC 9293, 3.1, and the next three
const SYN = 2;
const PSH = 8;
const ACK = 16;
const CLIENT_ISN = 1000;
const SERVER_ISN = 5000;
const DATA_BYTES = 100;
const [C, S] = [CLIENT_ISN + 1, SERVER_ISN + 1];
const [CD, SD] = [C + DATA_BYTES, S + DATA_BYTES];

const step = (
  end: End,
  waits: boolean,
  flags: number,
  sequence: number,
  acknowledged: number,
  payloadBytes = 0,
): Step => ({ end, waits, flags, sequence, acknowledged, payloadBytes });

/** Handshake, a question, an answer, both ends close: eight packets, six conntrack events. */
export const TCP_STEPS: readonly Step[] = [
  step('client', false, SYN, CLIENT_ISN, 0),
  step('server', true, SYN | ACK, SERVER_ISN, C),
  step('client', true, ACK, C, S),
  step('client', false, PSH | ACK, C, S, DATA_BYTES),
  step('server', true, PSH | ACK, S, CD, DATA_BYTES),
  step('client', true, FIN | ACK, CD, SD),
  step('server', true, FIN | ACK, SD, CD + 1),
  step('client', true, ACK, CD + 1, SD + 1),
];

/** A question and an answer: two packets, two conntrack events. */
export const UDP_STEPS: readonly Step[] = [
  step('client', false, 0, 0, 0, DATA_BYTES),
  step('server', true, 0, 0, 0, DATA_BYTES),
];

const IP_BYTES = 20;
const TCP_BYTES = 20;
const UDP_BYTES = 8;
const TTL = 64;
const WINDOW = 0xfaf0;
/** Conversation n is from port FIRST_PORT + n % PORTS to port SERVER_PORT + n / PORTS: SNAT leaves both as they are. */
const FIRST_PORT = 1024;
const PORTS = 60_000;
const SERVER_PORT = 2000;

/** All packets of one step of a batch of conversations: made once, ports and checksum are written anew. */
export class StepPackets {
  readonly batch: DatagramVector;
  private readonly view: DataView;
  private readonly portsAt: readonly [client: number, server: number];
  private readonly checksumAt: number;
  /** Sum of all that does not change. */
  private readonly sum: number;

  constructor(step: Step, from: Uint8Array, to: Uint8Array, capacity: number) {
    const isTcp = step.flags !== 0;
    const l4Bytes = (isTcp ? TCP_BYTES : UDP_BYTES) + step.payloadBytes;
    this.batch = new DatagramVector(capacity, IP_BYTES + l4Bytes);
    this.view = new DataView(this.batch.data.buffer);
    this.portsAt = step.end === 'client' ? [IP_BYTES, IP_BYTES + 2] : [IP_BYTES + 2, IP_BYTES];
    this.checksumAt = IP_BYTES + (isTcp ? 16 : 6);
    for (let i = 0; i < capacity; i++) this.writeFixed(this.batch.start(i), step, from, to);
    this.sum = this.fixedSum(isTcp ? IPPROTO_TCP : IPPROTO_UDP, l4Bytes);
  }

  /** Makes packet `i` of the batch that of conversation `n`. */
  set(i: number, n: number): void {
    const at = this.batch.start(i);
    const client = FIRST_PORT + (n % PORTS);
    const server = SERVER_PORT + Math.floor(n / PORTS);
    this.view.setUint16(at + this.portsAt[0], client);
    this.view.setUint16(at + this.portsAt[1], server);
    let sum = this.sum + client + server;
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    // In UDP zero would mean that there is no checksum.
    this.view.setUint16(at + this.checksumAt, ~sum & 0xffff || 0xffff);
  }

  private writeFixed(at: number, step: Step, from: Uint8Array, to: Uint8Array): void {
    const { view } = this;
    const isTcp = step.flags !== 0;
    view.setUint8(at, 0x45);
    view.setUint16(at + 2, this.batch.slotBytes);
    view.setUint8(at + 8, TTL);
    view.setUint8(at + 9, isTcp ? IPPROTO_TCP : IPPROTO_UDP);
    this.batch.data.set(from, at + 12);
    this.batch.data.set(to, at + 16);
    const l4 = at + IP_BYTES;
    if (!isTcp) {
      view.setUint16(l4 + 4, this.batch.slotBytes - IP_BYTES);
      return;
    }
    view.setUint32(l4 + 4, step.sequence);
    view.setUint32(l4 + 8, step.acknowledged);
    view.setUint8(l4 + 12, (TCP_BYTES / 4) << 4);
    view.setUint8(l4 + 13, step.flags);
    view.setUint16(l4 + 14, WINDOW);
  }

  /** Of packet 0, whose ports and checksum are still zero: pseudo header (RFC 9293, 3.1) and all of layer 4. */
  private fixedSum(protocol: number, l4Bytes: number): number {
    let sum = protocol + l4Bytes;
    for (let at = 12; at < IP_BYTES + l4Bytes; at += 2) sum += this.view.getUint16(at);
    return sum;
  }
}
