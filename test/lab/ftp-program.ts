/**
 * FTP as far as a firewall's helper reads it.
 *
 * `server`: answers every line with 200 and the line. PORT and EPRT name where "GO" connects to; PASV opens a port and
 * names it. A data connection carries one number a line, counted up every 20 ms.
 *
 * `client ADDRESS [OWN]`: sends each line of its input and prints each answer. "listen" opens a port and prints its
 * number, "enter HOST PORT" connects there; a data connection is printed as "data". "count" prints how many numbers
 * came over it, "wrong" in front if one was out of turn. "end" closes the control connection.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

const FTP_PORT = 21;
const NUMBER_EVERY_MS = 20;

interface Target {
  readonly host: string;
  readonly port: number;
}

function targetOf(line: string): Target | undefined {
  const fields = /^PORT (\d+),(\d+),(\d+),(\d+),(\d+),(\d+)/.exec(line)?.slice(1).map(Number);
  if (fields !== undefined) return { host: fields.slice(0, 4).join('.'), port: fields[4] * 256 + fields[5] };
  const eprt = /^EPRT \|1\|([\d.]+)\|(\d+)\|/.exec(line);
  return eprt === null ? undefined : { host: eprt[1], port: Number(eprt[2]) };
}

function count(socket: Socket): void {
  let n = 0;
  const timer = setInterval(() => socket.write(`${n++}\n`), NUMBER_EVERY_MS);
  socket.on('error', () => undefined);
  socket.on('close', () => clearInterval(timer));
}

const portOf = (server: Server): number => {
  const local = server.address();
  return typeof local === 'object' && local !== null ? local.port : 0;
};

function serve(): void {
  createServer((socket: Socket) => {
    let target: Target | undefined;
    socket.on('error', () => undefined);
    socket.write('220 ready\r\n');
    createInterface({ input: socket }).on('line', (line) => {
      target = targetOf(line) ?? target;
      if (line === 'PASV') {
        const passive = createServer(count);
        const own = (socket.localAddress ?? '').replace('::ffff:', '');
        passive.listen(0, own, () => {
          const port = portOf(passive);
          const fields = [...own.split('.'), port >> 8, port & 255];
          socket.write(`227 Entering Passive Mode (${fields.join(',')}).\r\n`);
        });
        return;
      }
      if (line === 'GO' && target !== undefined) count(connect({ ...target, localPort: FTP_PORT - 1 }));
      socket.write(`200 ${target?.host ?? 'none'} ${target?.port ?? 0} ${line}\r\n`);
    });
  }).listen(FTP_PORT, () => process.stdout.write('listening\n'));
}

/** Counts what comes over the data connection. */
class Data {
  #numbers = 0;
  #isWrong = false;

  readonly take = (socket: Socket): void => {
    process.stdout.write('data\n');
    socket.on('error', () => undefined);
    createInterface({ input: socket }).on('line', (line) => {
      if (line !== String(this.#numbers++)) this.#isWrong = true;
    });
  };

  toString(): string {
    return `${this.#isWrong ? 'wrong ' : ''}count ${this.#numbers}\n`;
  }
}

function talk(host: string, localAddress: string | undefined): void {
  const socket = connect({ host, port: FTP_PORT, ...(localAddress ? { localAddress } : {}) });
  const data = new Data();
  createInterface({ input: socket }).on('line', (line) => process.stdout.write(`${line}\n`));
  socket.on('close', () => process.stdout.write('closed\n'));
  socket.on('error', (error) => process.stdout.write(`${error.message}\n`));
  createInterface({ input: process.stdin }).on('line', (line) => {
    const [word, ...rest] = line.split(' ');
    if (word === 'end') socket.end();
    else if (word === 'count') process.stdout.write(data.toString());
    else if (word === 'enter') {
      const to = connect({ host: rest[0], port: Number(rest[1]), ...(localAddress ? { localAddress } : {}) });
      to.on('connect', () => data.take(to));
      to.on('error', (error) => process.stdout.write(`${error.message}\n`));
    } else if (word === 'listen') {
      const server = createServer(data.take);
      server.listen(0, () => process.stdout.write(`port ${portOf(server)}\n`));
    } else socket.write(`${line}\r\n`);
  });
}

if (process.argv[2] === 'server') serve();
else talk(process.argv[3], process.argv[4]);
