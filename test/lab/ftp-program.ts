/**
 * An FTP control connection through the lab's firewalls. `server`: answers every line with 200, and connects to the port
 * that the last PORT named when it gets "GO". `client ADDRESS`: sends each line of its input and prints each answer;
 * "listen" opens a port and prints its number, and a connection to it is printed as "data".
 */

import { connect, createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

const FTP_PORT = 21;

function serve(): void {
  createServer((socket: Socket) => {
    let target: { host: string; port: number } | undefined;
    socket.on('error', () => undefined);
    socket.write('220 ready\r\n');
    createInterface({ input: socket }).on('line', (line) => {
      const fields = /^PORT (\d+),(\d+),(\d+),(\d+),(\d+),(\d+)/.exec(line)?.slice(1).map(Number);
      const eprt = /^EPRT \|1\|([\d.]+)\|(\d+)\|/.exec(line);
      if (fields !== undefined) {
        target = { host: fields.slice(0, 4).join('.'), port: fields[4] * 256 + fields[5] };
      }
      if (eprt !== null) target = { host: eprt[1], port: Number(eprt[2]) };
      if (line === 'GO' && target !== undefined) {
        connect({ ...target, localPort: FTP_PORT - 1 }).on('error', () => undefined);
      }
      socket.write(`200 ${target?.host ?? 'none'} ${target?.port ?? 0}\r\n`);
    });
  }).listen(FTP_PORT, () => process.stdout.write('listening\n'));
}

function talk(address: string): void {
  const socket = connect({ host: address, port: FTP_PORT });
  createInterface({ input: socket }).on('line', (line) => process.stdout.write(`${line}\n`));
  socket.on('close', () => process.exit(0));
  socket.on('error', (error) => process.stdout.write(`${error.message}\n`));
  createInterface({ input: process.stdin }).on('line', (line) => {
    if (line === 'end') socket.end();
    else if (line === 'listen') {
      const server = createServer(() => process.stdout.write('data\n'));
      server.listen(0, () => {
        const local = server.address();
        process.stdout.write(`port ${typeof local === 'object' ? local?.port : 0}\n`);
      });
    } else socket.write(`${line}\r\n`);
  });
}

if (process.argv[2] === 'server') serve();
else talk(process.argv[3]);
