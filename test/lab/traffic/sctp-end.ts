/** The ends of SCTP associations, over raw sockets: the handshake, then DATA both ways under the tags it agreed on. */
import type { Conversation } from './conversation.js';
import type { Kind } from './kinds.js';
import { Asker, type Pump } from './raw-end.js';
import { RawSocket } from './raw-socket.js';
import {
  CHUNK_COOKIE_ACK,
  CHUNK_COOKIE_ECHO,
  CHUNK_DATA,
  CHUNK_INIT,
  CHUNK_INIT_ACK,
  decodeSctp,
  encodeSctp,
  initBody,
  type SctpPacket,
} from './sctp-packet.js';

const IPPROTO_SCTP = 132; // linux/in.h
const FIRST_PORT = 7000;
const OPENER_TAG = 0x11110000;
const ANSWERER_TAG = 0x22220000;
const HANDSHAKE_AGAIN_MS = 500;

/** The end that opens: one port an association. */
class Association extends Asker {
  #peerTag = 0;
  #isOpen = false;
  #askAgainAtMs = 0;

  constructor(
    kind: Kind,
    number: number,
    private readonly socket: RawSocket,
  ) {
    super(kind, number);
  }

  protected override get isReady(): boolean {
    return this.#isOpen;
  }

  override tick(now: number): void {
    if (!this.#isOpen && now >= this.#askAgainAtMs) {
      this.#askAgainAtMs = now + HANDSHAKE_AGAIN_MS;
      this.#send(0, CHUNK_INIT, initBody(OPENER_TAG + this.number));
    }
    super.tick(now);
  }

  protected override say(count: number): void {
    this.#send(this.#peerTag, CHUNK_DATA, Buffer.from(`${this.number} ${count}`));
  }

  take({ tag, chunk, body }: SctpPacket): void {
    if (tag !== OPENER_TAG + this.number) this.lose(`the verification tag is ${tag.toString(16)}`);
    else if (chunk === CHUNK_INIT_ACK) {
      this.#peerTag = body.readUInt32BE(0);
      this.#send(this.#peerTag, CHUNK_COOKIE_ECHO, Buffer.from('cookie'));
    } else if (chunk === CHUNK_COOKIE_ACK) this.#isOpen = true;
    else if (chunk === CHUNK_DATA) {
      const [number, count] = body.toString('latin1').split(' ').map(Number);
      if (number !== this.number) this.lose(`answered "${body.toString('latin1')}"`);
      this.answered(count);
    }
  }

  #send(tag: number, chunk: number, body: Buffer): void {
    const packet = { sourcePort: FIRST_PORT + this.number, targetPort: this.kind.port, tag, chunk, body };
    this.socket.send(encodeSctp(packet), this.kind.target);
  }
}

/** Opens all associations of a kind: they share a socket. */
export function openSctp(kind: Kind, count: number): { conversations: Conversation[]; pump: Pump } {
  const socket = new RawSocket(false, IPPROTO_SCTP);
  const conversations = Array.from({ length: count }, (_, number) => new Association(kind, number, socket));
  const pump = () => {
    for (let raw = socket.receive(); raw !== undefined; raw = socket.receive()) {
      const packet = decodeSctp(raw.data);
      if (packet?.sourcePort === kind.port) conversations[packet.targetPort - FIRST_PORT]?.take(packet);
    }
  };
  return { conversations, pump };
}

/** Answers handshakes, and says back what comes under the right tag. The tag is the port's, so nothing is remembered. */
export function answerSctp(kind: Kind): Pump {
  const socket = new RawSocket(false, IPPROTO_SCTP);
  const openerTags = new Map<number, number>();
  return () => {
    for (let raw = socket.receive(); raw !== undefined; raw = socket.receive()) {
      const packet = decodeSctp(raw.data);
      if (packet?.targetPort !== kind.port) continue;
      const { sourcePort, tag, chunk, body } = packet;
      const own = (ANSWERER_TAG + sourcePort) >>> 0;
      if (chunk === CHUNK_INIT) openerTags.set(sourcePort, body.readUInt32BE(0));
      else if (tag !== own) continue;
      const reply = {
        [CHUNK_INIT]: { chunk: CHUNK_INIT_ACK, body: initBody(own) },
        [CHUNK_COOKIE_ECHO]: { chunk: CHUNK_COOKIE_ACK, body: Buffer.alloc(0) },
        [CHUNK_DATA]: { chunk: CHUNK_DATA, body },
      }[chunk];
      if (reply === undefined) continue;
      const { source } = raw;
      const ports = { sourcePort: kind.port, targetPort: sourcePort };
      socket.send(encodeSctp({ ...ports, ...reply, tag: openerTags.get(sourcePort) ?? 0 }), source);
    }
  };
}
