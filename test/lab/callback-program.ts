/**
 * A protocol with a connection back, as a program that runs in a namespace of the lab:
 *   callback-program.js server            listens on port 7000; at "GO" it connects back to the port above the client's
 *   callback-program.js client HOST PORT  connects from PORT, listens on PORT + 1
 * Both write a line for what happens, and end when standard input does. The client says "GO" at a line "go".
 */
import { connect, createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

const CONTROL_PORT = 7000;
const say = (line: string): boolean => process.stdout.write(`${line}\n`);

function told(socket: Socket, what: string): Socket {
  return socket
    .on('error', (error: NodeJS.ErrnoException) => say(`${what}: ${error.code}`))
    .on('close', () => say(`${what}: closed`));
}

function serve(): void {
  const server = createServer((control) => {
    const { remoteAddress = '', remotePort = 0 } = control;
    told(control, 'control').on('data', () => {
      const data = connect({ host: remoteAddress, port: remotePort + 1 }, () => data.write('hello\n'));
      told(data, 'data');
    });
  });
  server.listen(CONTROL_PORT, '0.0.0.0', () => say('listening'));
}

function callFrom(host: string, port: number): void {
  const listener = createServer((data) => {
    told(data, 'data').on('data', (text) => say(`data: ${String(text).trim()}`));
  });
  listener.listen(port + 1, '0.0.0.0', () => {
    const control = connect({ host, port: CONTROL_PORT, localPort: port }, () => say('connected'));
    told(control, 'control');
    createInterface({ input: process.stdin }).on('line', () => control.write('GO\n'));
  });
}

const [what, host, port] = process.argv.slice(2);
process.stdin.on('end', () => process.exit(0));
process.stdin.resume();
if (what === 'server') serve();
else callFrom(host, Number(port));
