/**
 * The ends of TFTP transfers of one block through the kernel's helper: the request goes to the well-known port, the
 * file comes from another one, and only when the next round begins. The server says the block again until it is
 * acknowledged, as TFTP does. So does the client with its request, for one that comes in the middle of a commit is lost:
 * a round is over when the server has the next request, and that nobody asks again once the next round has begun shows
 * that no failover lost what is expected.
 */
import { createSocket, type Socket } from 'node:dgram';
import { Conversation } from './conversation.js';
import type { Kind } from './kinds.js';

const REQUEST = 1;
const DATA = 3;
const ACKNOWLEDGE = 4;
/** From the port of the last file: the next request is here. */
const HAVE_REQUEST = 6;
const AGAIN_MS = 300;

const withCode = (code: number, text: string): Buffer =>
  Buffer.concat([Buffer.from([0, code]), Buffer.from(text)]);

class Client extends Conversation {
  readonly #socket: Socket;
  #file = 0;
  #begunMs = 0;
  #askAtMs = 0;

  constructor(kind: Kind, number: number) {
    super(kind, number, true);
    this.#socket = createSocket('udp4');
    this.#socket.on('error', (error: NodeJS.ErrnoException) => this.lose(error.code ?? error.message));
    this.#socket.on('message', (message, { address, port }) => {
      if (message[0] === 0 && message[1] === DATA) this.#got(message.toString('latin1', 2), address, port);
      else if (message[1] === HAVE_REQUEST && message.toString('latin1', 2) === this.#wanted) this.#isAsked();
    });
  }

  override begin(now: number): void {
    this.#begunMs = now;
  }

  override tick(now: number): void {
    if (now < this.#askAtMs) return;
    this.#askAtMs = now + AGAIN_MS;
    this.#socket.send(withCode(REQUEST, `${this.#wanted}\0octet\0`), this.kind.port, this.kind.target);
  }

  override get waitsFor(): string {
    return `file ${this.#file}`;
  }

  get #wanted(): string {
    return `${this.number} ${this.#file}`;
  }

  #got(said: string, address: string, port: number): void {
    this.#socket.send(withCode(ACKNOWLEDGE, this.#wanted), port, address);
    // The last file, said again because the acknowledgement was lost.
    if (said === `${this.number} ${this.#file - 1}`) return;
    if (said !== this.#wanted) {
      this.lose(`got "${said}" instead of "${this.#wanted}"`);
      return;
    }
    this.#file++;
    this.#askAtMs = 0;
    this.tick(performance.now());
  }

  /** The file came, and the next one is asked for. */
  #isAsked(): void {
    if (this.#askAtMs === Number.POSITIVE_INFINITY) return;
    this.#askAtMs = Number.POSITIVE_INFINITY;
    this.talked(this.#begunMs, performance.now(), this.#begunMs);
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
    const isNew = text !== this.#asked;
    this.#asked = text;
    this.#say(HAVE_REQUEST);
    if (!isNew) return;
    // Who asks for the next one has the last.
    this.#dueMs = Number.POSITIVE_INFINITY;
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
    this.#say(DATA);
  }

  #say(code: number): void {
    this.#socket?.send(withCode(code, this.#asked), this.client.port, this.client.address);
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
