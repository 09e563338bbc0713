/**
 * Connections on which the server speaks, as a program that runs in a namespace of the lab:
 *   push-program.js server PORT PAUSE_MS      sends a byte every PAUSE_MS on each connection
 *   push-program.js client HOST PORT COUNT    at a line "open": COUNT connections that listen
 * When a firewall dies, what such a server sends goes on coming to the address that SNAT writes. Both end when standard
 * input does; the client writes a JSON line (`PushState`) ten times a second.
 */
import { connect, createServer } from 'node:net';

const REPORT_INTERVAL_MS = 100;

export interface PushState {
  readonly connected: number;
  /** Connections on which something came since the last state. */
  readonly talking: number;
  /** Why connections ended. */
  readonly dead: Readonly<Record<string, number>>;
}

function serve(port: number, pauseMs: number): void {
  const server = createServer({ noDelay: true }, (socket) => {
    const timer = setInterval(() => socket.write('x'), pauseMs);
    socket.on('close', () => clearInterval(timer));
    socket.on('error', () => socket.destroy());
    socket.resume();
  });
  server.listen({ port, host: '0.0.0.0', backlog: 4096 }, () => process.stdout.write('{"listening":true}\n'));
}

function listen(host: string, port: number, count: number): void {
  let connected = 0;
  const talking = new Set<number>();
  const dead: Record<string, number> = {};
  for (let n = 0; n < count; n++) {
    const socket = connect({ host, port });
    let reason = 'closed';
    socket.on('connect', () => connected++);
    socket.on('data', () => talking.add(n));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      reason = error.code ?? error.message;
    });
    socket.on('close', () => {
      dead[reason] = (dead[reason] ?? 0) + 1;
    });
  }
  setInterval(() => {
    const state: PushState = { connected, talking: talking.size, dead };
    talking.clear();
    process.stdout.write(`${JSON.stringify(state)}\n`);
  }, REPORT_INTERVAL_MS);
}

const [what, ...rest] = process.argv.slice(2);
process.stdin.on('end', () => process.exit(0));
process.stdin.resume();
if (what === 'server') serve(Number(rest[0]), Number(rest[1]));
else process.stdin.once('data', () => listen(rest[0], Number(rest[1]), Number(rest[2])));
