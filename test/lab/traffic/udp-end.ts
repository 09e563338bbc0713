/**
 * The ends of UDP flows. A datagram may be lost while the firewalls switch, as the application's own repetition would
 * make good for; but the other end must see every one from the address and port it saw first, or the flow was not
 * taken over but made anew.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { Conversation } from './conversation.js';
import type { Kind } from './kinds.js';
import { Questions } from './questions.js';

const PAUSE_MS = 100;

const socketType = (kind: Kind) => (kind.target.includes(':') ? 'udp6' : 'udp4');

/** The end that begins: asks and takes answers, or only sends, or asks once and only takes. */
class Opener extends Conversation {
  readonly #socket: Socket;
  readonly #questions = new Questions(Number.MAX_SAFE_INTEGER);
  #isConnected = false;
  #dueMs: number;

  constructor(kind: Kind, number: number) {
    super(kind, number, kind.play !== 'one-way-up');
    this.#dueMs = performance.now() + (number % 50) * (PAUSE_MS / 50);
    this.#socket = createSocket(socketType(kind));
    this.#socket.on('error', (error: NodeJS.ErrnoException) => this.lose(error.code ?? error.message));
    this.#socket.on('message', (message) => this.#take(message.toString('latin1')));
    this.#socket.connect(kind.port, kind.target, () => {
      this.#isConnected = true;
    });
  }

  override tick(now: number): void {
    if (this.loss !== undefined || !this.#isConnected || now < this.#dueMs) return;
    if (this.kind.play === 'talk' && this.#questions.isWaiting(now)) return;
    if (this.kind.play === 'one-way-down' && this.isMade) return;
    this.#dueMs = now + PAUSE_MS;
    this.#socket.send(`${this.kind.name} ${this.number} ${this.#questions.ask(now)}`);
  }

  override get waitsFor(): string {
    return String(this.#questions);
  }

  #take(text: string): void {
    const [name, number, count] = text.split(' ');
    if (name !== this.kind.name || Number(number) !== this.number) {
      this.lose(`got "${text.slice(0, 60)}", which is another flow's`);
      return;
    }
    const now = performance.now();
    if (this.kind.play === 'one-way-down') this.talked(now, now);
    else {
      const askedMs = this.#questions.answered(Number(count));
      if (askedMs !== undefined) this.talked(askedMs, now);
    }
  }
}

/** The other end of one flow, behind the one socket of its kind. */
class Answerer extends Conversation {
  readonly #from: string;
  readonly #reply: (text: string) => void;
  #dueMs = 0;
  #count = 0;

  constructor(kind: Kind, number: number, socket: Socket, from: RemoteInfo) {
    super(kind, number, kind.play === 'one-way-up');
    this.#from = `${from.address} ${from.port}`;
    this.#reply = (text) => socket.send(text, from.port, from.address);
  }

  take(text: string, from: RemoteInfo): void {
    const now = performance.now();
    const source = `${from.address} ${from.port}`;
    if (source !== this.#from) this.lose(`came from ${this.#from} and now from ${source}`);
    else if (this.kind.play === 'talk') this.#reply(text);
    else if (this.isJudge) this.talked(now, now);
  }

  override tick(now: number): void {
    if (this.kind.play !== 'one-way-down' || now < this.#dueMs) return;
    this.#dueMs = now + PAUSE_MS;
    this.#reply(`${this.kind.name} ${this.number} ${++this.#count}`);
  }
}

/** Opens one flow of a UDP kind. */
export function openUdp(kind: Kind, number: number): Conversation {
  return new Opener(kind, number);
}

/** Listens for the flows of a UDP kind and hands each to `take`. Resolves when it listens. */
export function listenUdp(kind: Kind, take: (conversation: Conversation) => void): Promise<void> {
  const socket = createSocket(socketType(kind));
  const known = new Map<number, Answerer>();
  socket.on('message', (message, from) => {
    const text = message.toString('latin1');
    const number = Number(text.split(' ')[1]);
    let flow = known.get(number);
    if (flow === undefined) {
      flow = new Answerer(kind, number, socket, from);
      known.set(number, flow);
      take(flow);
    }
    flow.take(text, from);
  });
  // A datagram to an end that is gone: the end that judges tells.
  socket.on('error', () => undefined);
  return new Promise((resolve) => {
    socket.bind(kind.servicePort ?? kind.port, () => resolve());
  });
}
