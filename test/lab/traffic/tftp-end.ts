/**
 * The ends of TFTP transfers of one block through the kernel's helper: the request goes to the well-known port, the
 * file comes from another one, and only when the next round begins. The server says the block again until it is
 * acknowledged, as TFTP does.
 */
import { createSocket, type Socket } from 'node:dgram';
import { Conversation } from './conversation.js';
import type { Kind } from './kinds.js';

const REQUEST = 1;
const DATA = 3;
const ACKNOWLEDGE = 4;
const AGAIN_MS = 300;

const withCode = (code: number, text: string): Buffer =>
  Buffer.concat([Buffer.from([0, code]), Buffer.from(text)]);

class Client extends Conversation {
  readonly #socket: Socket;
  #file = 0;
  #begunMs = 0;
  #isAsked = false;

  constructor(kind: Kind, number: number) {
    super(kind, number, true);
    this.#socket = createSocket('udp4');
    this.#socket.on('error', (error: NodeJS.ErrnoException) => this.lose(error.code ?? error.message));
    this.#socket.on('message', (message, { address, port }) => {
      const text = `${this.number} ${this.#file}`;
      this.#socket.send(withCode(ACKNOWLEDGE, text), port, address);
      const said = message.toString('latin1', 2);
      // The last file, said again because the acknowledgement was lost.
      if (said === `${this.number} ${this.#file - 1}`) return;
      if (message[1] !== DATA || said !== text) {
        this.lose(`got "${said}" instead of "${text}"`);
        return;
      }
      this.talked(this.#begunMs, performance.now(), this.#begunMs);
      this.#file++;
      this.#ask();
    });
  }

  override begin(now: number): void {
    this.#begunMs = now;
  }

  override tick(): void {
    if (!this.#isAsked) this.#ask();
  }

  #ask(): void {
    this.#isAsked = true;
    this.#socket.send(
      withCode(REQUEST, `${this.number} ${this.#file}\0octet\0`),
      this.kind.port,
      this.kind.target,
    );
  }
}

class ServerFile extends Conversation {
  #socket: Socket | undefined;
  #asked = '';
  #dueMs = Number.POSITIVE_INFINITY;

  constructor(
    kind: Kind,
    number: number,
    private readonly client: { readonly address: string; readonly port: number },
  ) {
    super(kind, number, false);
  }

  ask(text: string): void {
    this.#asked = text;
    // The first one is sent at once, so that the conversation is made.
    if (text.endsWith(' 0')) this.begin(performance.now());
  }

  override begin(now: number): void {
    if (this.#asked === '') return;
    this.#socket?.close();
    this.#socket = createSocket('udp4');
    this.#socket.on('message', () => {
      this.#dueMs = Number.POSITIVE_INFINITY;
    });
    this.#dueMs = now;
  }

  override tick(now: number): void {
    if (now < this.#dueMs) return;
    this.#dueMs = now + AGAIN_MS;
    this.#socket?.send(withCode(DATA, this.#asked), this.client.port, this.client.address);
  }
}

/** Opens one TFTP client. */
export function openTftp(kind: Kind, number: number): Conversation {
  return new Client(kind, number);
}

/** Serves the requests of a TFTP kind and hands each client's files to `take`. Resolves when it listens. */
export function listenTftp(kind: Kind, take: (conversation: Conversation) => void): Promise<void> {
  const socket = createSocket('udp4');
  const known = new Map<number, ServerFile>();
  socket.on('message', (message, { address, port }) => {
    const [text] = message.toString('latin1', 2).split('\0');
    const number = Number(text.split(' ')[0]);
    let files = known.get(number);
    if (files === undefined) {
      files = new ServerFile(kind, number, { address, port });
      known.set(number, files);
      take(files);
    }
    files.ask(text);
  });
  return new Promise((resolve) => {
    socket.bind(kind.servicePort, () => resolve());
  });
}
