/**
 * Live TCP traffic, as a program that runs in a namespace of the lab:
 *   traffic-program.js server PORT                       echoes what comes
 *   traffic-program.js client HOST PORT COUNT PAUSE_MS   COUNT connections; on each one byte at a time is sent,
 *                                                        its echo awaited, and PAUSE_MS waited; the connections'
 *                                                        turns are spread evenly over the pause
 * Both write JSON lines to standard output (`TrafficLine`) and end when standard input does. A client that reads a
 * line "finish" asks each connection for one more answer, writes its report and ends; at "reset" the silences so far are
 * forgotten.
 */
import { connect, createServer, type Socket } from 'node:net';

/** A connection without an answer for this long is given up. Milliseconds. */
const GIVE_UP_MS = 15_000;
/** A connection without an answer for this long is shown as silent; the pause and one short queue fit in. */
const SILENT_MS = 250;
const REPORT_INTERVAL_MS = 100;
/** The first retransmission comes after 200 ms, or a little more, and a pause with its answer takes a third of that. */
const RETRANSMITTED_MS = 190;

/** How the connections are at a moment, and at the end. Times are milliseconds. */
export interface TrafficState {
  readonly connections: number;
  /** Connections that were made, whatever became of them. */
  readonly connected: number;
  readonly alive: number;
  /** Alive, but without an answer just now. */
  readonly silent: number;
  /** Why connections died. */
  readonly dead: Readonly<Record<string, number>>;
  /** Longest time without an answer that any connection saw, running silences included. */
  readonly longestSilenceMs: number;
  readonly medianSilenceMs: number;
  /** Connections whose longest silence was a retransmission's: a packet of theirs was lost. */
  readonly retransmitted: number;
  /** Answers so far, of all connections. */
  readonly answers: number;
}

/** One line of output: the server listens, the state now, or the report at the end. */
export type TrafficLine =
  | { readonly kind: 'listening' }
  | ({ readonly kind: 'now' } & TrafficState)
  | ({ readonly kind: 'report' } & TrafficState);

const say = (line: TrafficLine) => process.stdout.write(`${JSON.stringify(line)}\n`);

class PingPong {
  isConnected = false;
  /** Why the connection ended, or undefined while it lives. */
  death: string | undefined;
  isFinished = false;
  longestMs = 0;
  lastMs: number;
  private pingedAfterFinish = false;
  private readonly socket: Socket;

  constructor(
    private readonly traffic: TrafficClient,
    host: string,
    port: number,
    private readonly pauseMs: number,
    private readonly firstAfterMs: number,
  ) {
    this.lastMs = performance.now();
    this.socket = connect({ host, port, noDelay: true });
    this.socket.on('connect', () => {
      this.isConnected = true;
      this.lastMs = performance.now();
      setTimeout(() => this.ping(), this.firstAfterMs);
    });
    this.socket.on('data', () => this.answered());
    this.socket.on('error', (error: NodeJS.ErrnoException) => this.die(error.code ?? error.message));
    this.socket.on('close', () => this.die('closed'));
  }

  get isAlive(): boolean {
    return this.isConnected && this.death === undefined;
  }

  /** Only the silence that runs counts from now on. */
  reset(): void {
    this.longestMs = 0;
  }

  check(now: number): void {
    if (this.death === undefined && !this.isFinished && now - this.lastMs > GIVE_UP_MS) this.die('silence');
  }

  private ping(): void {
    if (this.death !== undefined || this.isFinished) return;
    this.pingedAfterFinish = this.traffic.isFinishing;
    this.socket.write('x');
  }

  private answered(): void {
    const now = performance.now();
    this.longestMs = Math.max(this.longestMs, now - this.lastMs);
    this.lastMs = now;
    this.traffic.answers++;
    if (this.pingedAfterFinish) this.isFinished = true;
    else setTimeout(() => this.ping(), this.pauseMs);
  }

  private die(reason: string): void {
    if (this.death !== undefined) return;
    this.death = this.isConnected ? reason : `not connected: ${reason}`;
    this.longestMs = Math.max(this.longestMs, performance.now() - this.lastMs);
    this.socket.destroy();
  }
}

class TrafficClient {
  isFinishing = false;
  answers = 0;
  private readonly all: PingPong[];

  constructor(host: string, port: number, count: number, pauseMs: number) {
    // Together they would all lose a packet in a gap, or none, as chance has it.
    const turn = (i: number) => (i * pauseMs) / count;
    this.all = Array.from({ length: count }, (_, i) => new PingPong(this, host, port, pauseMs, turn(i)));
  }

  reset(): void {
    for (const one of this.all) one.reset();
  }

  state(): TrafficState {
    const now = performance.now();
    const dead: Record<string, number> = {};
    const silences: number[] = [];
    let connected = 0;
    let alive = 0;
    let silent = 0;
    for (const one of this.all) {
      if (one.isConnected) connected++;
      if (one.death !== undefined) dead[one.death] = (dead[one.death] ?? 0) + 1;
      const running = one.isAlive && !one.isFinished ? now - one.lastMs : 0;
      if (one.isAlive) alive++;
      if (running > SILENT_MS) silent++;
      silences.push(Math.max(one.longestMs, running));
    }
    silences.sort((a, b) => a - b);
    return {
      connections: this.all.length,
      connected,
      alive,
      silent,
      dead,
      longestSilenceMs: Math.round(silences.at(-1) ?? 0),
      medianSilenceMs: Math.round(silences[silences.length >> 1] ?? 0),
      retransmitted: silences.filter((ms) => ms >= RETRANSMITTED_MS).length,
      answers: this.answers,
    };
  }

  /** Speaks once in a while; ends the program with the report when every connection is finished or dead. */
  tick(): void {
    const now = performance.now();
    for (const one of this.all) one.check(now);
    if (this.isFinishing && this.all.every((one) => one.isFinished || one.death !== undefined)) {
      process.stdout.write(`${JSON.stringify({ kind: 'report', ...this.state() })}\n`, () => process.exit(0));
    } else say({ kind: 'now', ...this.state() });
  }
}

function serve(port: number): void {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
  server.listen({ port, host: '0.0.0.0', backlog: 4096 }, () => say({ kind: 'listening' }));
}

function main([what, ...rest]: string[]): void {
  process.stdin.on('end', () => process.exit(0));
  process.stdin.resume();
  if (what === 'server') {
    serve(Number(rest[0]));
    return;
  }
  const [host, port, count, pauseMs] = rest;
  const client = new TrafficClient(host, Number(port), Number(count), Number(pauseMs));
  setInterval(() => client.tick(), REPORT_INTERVAL_MS);
  process.stdin.setEncoding('utf8').on('data', (text: string) => {
    if (text.includes('reset')) client.reset();
    if (text.includes('finish')) client.isFinishing = true;
  });
}

main(process.argv.slice(2));
