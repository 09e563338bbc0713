/** The ends of TCP connections: errors, resets, early ends and wrong bytes are losses, whichever end sees them. */
import { connect, createServer, type Socket } from 'node:net';
import { Conversation } from './conversation.js';
import type { Kind } from './kinds.js';
import { patternAt, wrongByte } from './pattern.js';

/** Between two exchanges. Milliseconds. */
const PAUSE_MS = 100;
/** A burst that fits in no unscaled window, and the pause after it. */
const BURST_BYTES = 128 * 1024;
const BURST_PAUSE_MS = 400;
/** What a half-closed connection says. */
const DRIP_BYTES = 1000;
const OPENED_ON_START = { noDelay: true, allowHalfOpen: true } as const;

/** A socket whose opener has told its number in the first line. */
abstract class TcpEnd extends Conversation {
  /** The other end shuts down its direction: that is this kind's way. */
  protected isEndExpected = false;
  readonly #isOpener: boolean;

  constructor(
    kind: Kind,
    number: number,
    protected readonly socket: Socket,
    isOpener: boolean,
    isJudge: boolean,
  ) {
    super(kind, number, isJudge);
    this.#isOpener = isOpener;
    socket.on('error', (error: NodeJS.ErrnoException) => this.lose(this.#named(error.code ?? error.message)));
    socket.on('end', () => {
      if (!this.isEndExpected) this.lose(this.#named('the other end closed'));
    });
    socket.on('close', () => this.closed());
  }

  protected closed(): void {
    this.lose(this.#named('closed'));
  }

  #named(what: string): string {
    const { localPort, remotePort } = this.socket;
    return `${what} (at the ${this.#isOpener ? 'opener' : 'listener'}, port ${localPort} to ${remotePort})`;
  }
}

/** The opener of a connection that talks: says a line of its own, and takes exactly that as the answer. */
class Talker extends TcpEnd {
  #said = Buffer.alloc(0);
  #heard = 0;
  #saidMs = 0;
  #dueMs: number;
  #count = 0;
  #isFinishing = false;

  constructor(kind: Kind, number: number, socket: Socket) {
    super(kind, number, socket, true, true);
    // Spread, so that not all of them speak in the same millisecond.
    this.#dueMs = performance.now() + (number % 50) * (PAUSE_MS / 50);
    socket.on('data', (piece) => this.#take(piece));
  }

  override tick(now: number): void {
    if (this.loss !== undefined || this.#said.length > 0 || now < this.#dueMs) return;
    this.#said = Buffer.from(
      `${this.kind.name} ${this.number} ${this.#count++} ${'.'.repeat(this.#count % 90)}\n`,
    );
    this.#heard = 0;
    this.#saidMs = now;
    this.socket.write(this.#said);
  }

  override finish(now: number): void {
    this.#isFinishing = true;
    if (this.#said.length === 0) this.#dueMs = now;
  }

  #take(piece: Buffer): void {
    const expected = this.#said.subarray(this.#heard, this.#heard + piece.length);
    if (!piece.equals(expected)) {
      this.lose(`answered "${piece.toString('latin1', 0, 60)}" to "${expected.toString('latin1', 0, 60)}"`);
      return;
    }
    this.#heard += piece.length;
    if (this.#heard < this.#said.length) return;
    const now = performance.now();
    this.talked(this.#saidMs, now);
    this.#said = Buffer.alloc(0);
    const isSilent = this.kind.play === 'idle' && !this.#isFinishing;
    this.#dueMs = isSilent ? Number.POSITIVE_INFINITY : now + PAUSE_MS;
  }
}

/** Says back what it hears. */
class Echo extends TcpEnd {
  constructor(kind: Kind, number: number, socket: Socket, first: Buffer) {
    super(kind, number, socket, false, false);
    if (first.length > 0) socket.write(first);
    socket.on('data', (piece) => socket.write(piece));
  }
}

/** Sends the pattern in bursts. Its other direction is silent, or shut down by the other end. */
class Sender extends TcpEnd {
  #position = 0;
  #dueMs = 0;
  readonly #bytes: number;
  readonly #pauseMs: number;

  constructor(kind: Kind, number: number, socket: Socket, isOpener: boolean) {
    super(kind, number, socket, isOpener, false);
    const isBulk = kind.play.startsWith('bulk');
    this.#bytes = isBulk ? BURST_BYTES : DRIP_BYTES;
    this.#pauseMs = isBulk ? BURST_PAUSE_MS : PAUSE_MS;
    this.#dueMs = performance.now() + ((number * 7) % 50) * (this.#pauseMs / 50);
    this.isEndExpected = !isBulk;
    socket.resume();
  }

  override tick(now: number): void {
    // What waits in this process is not in the network.
    if (this.loss !== undefined || now < this.#dueMs || this.socket.writableLength > this.#bytes) return;
    this.#dueMs = now + this.#pauseMs;
    this.socket.write(patternAt(this.#position, this.#bytes));
    this.#position += this.#bytes;
  }
}

/** Takes the pattern and checks every byte; has shut down its own direction if the kind is half-closed. */
class Receiver extends TcpEnd {
  #position = 0;

  constructor(kind: Kind, number: number, socket: Socket, isOpener: boolean, first: Buffer) {
    super(kind, number, socket, isOpener, true);
    if (kind.play.startsWith('half-closed')) socket.end();
    if (first.length > 0) this.#take(first);
    socket.on('data', (piece) => this.#take(piece));
  }

  #take(piece: Buffer): void {
    const wrong = wrongByte(this.#position, piece);
    if (wrong >= 0) this.lose(`byte ${wrong} of the stream is wrong`);
    else {
      const now = performance.now();
      this.talked(now, now);
    }
    this.#position += piece.length;
  }
}

/** Opened, and closed by both ends: what is left of it is in the kernels. */
class Closed extends TcpEnd {
  constructor(kind: Kind, number: number, socket: Socket, isOpener: boolean) {
    super(kind, number, socket, isOpener, isOpener);
    this.isEndExpected = true;
    socket.resume();
    socket.end();
  }

  protected override closed(): void {
    const now = performance.now();
    this.talked(now, now);
  }
}

/** Opens one connection of a TCP kind. */
export function openTcp(kind: Kind, number: number): Conversation {
  const socket = connect({ host: kind.target, port: kind.port, ...OPENED_ON_START });
  socket.write(`${number}\n`);
  switch (kind.play) {
    case 'bulk-up':
    case 'half-closed-up':
      return new Sender(kind, number, socket, true);
    case 'bulk-down':
    case 'half-closed-down':
      return new Receiver(kind, number, socket, true, Buffer.alloc(0));
    case 'closed':
      return new Closed(kind, number, socket, true);
    default:
      return new Talker(kind, number, socket);
  }
}

function answer(kind: Kind, number: number, socket: Socket, first: Buffer): Conversation {
  switch (kind.play) {
    case 'bulk-up':
    case 'half-closed-up':
      return new Receiver(kind, number, socket, false, first);
    case 'bulk-down':
    case 'half-closed-down':
      return new Sender(kind, number, socket, false);
    case 'closed':
      return new Closed(kind, number, socket, false);
    default:
      return new Echo(kind, number, socket, first);
  }
}

/** Listens for the connections of a TCP kind and hands each to `take`. Resolves when it listens. */
export function listenTcp(kind: Kind, take: (conversation: Conversation) => void): Promise<void> {
  const server = createServer(OPENED_ON_START, (socket) => {
    let head = Buffer.alloc(0);
    const read = (piece: Buffer) => {
      head = Buffer.concat([head, piece]);
      const end = head.indexOf('\n');
      if (end < 0) return;
      socket.off('data', read);
      take(answer(kind, Number(head.toString('latin1', 0, end)), socket, head.subarray(end + 1)));
    };
    socket.on('data', read);
    // Until its number is known it is nobody's.
    socket.on('error', () => undefined);
  });
  const port = kind.servicePort ?? kind.port;
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host: '::', backlog: 1024 }, () => resolve());
  });
}
