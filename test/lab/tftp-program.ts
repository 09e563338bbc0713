/**
 * TFTP as far as a firewall's helper reads it. `server`: says "asked" for a read request, and answers the last one from
 * a port of its own when its input says so. `client ADDRESS`: asks for a file, and says "got" and what comes.
 */
import { createSocket, type RemoteInfo } from 'node:dgram';
import { createInterface } from 'node:readline';

const TFTP_PORT = 69;
/** Opcode 1, name, mode. */
const READ_REQUEST = Buffer.from('\0\x01file\0octet\0', 'latin1');
/** Opcode 3, block 1, data. */
const DATA = Buffer.from('\0\x03\0\x01data', 'latin1');
const say = (line: string): boolean => process.stdout.write(`${line}\n`);

function serve(): void {
  let asker: RemoteInfo | undefined;
  const socket = createSocket('udp4');
  socket.on('message', (_request, from) => {
    asker = from;
    say('asked');
  });
  socket.bind(TFTP_PORT, () => say('listening'));
  createInterface({ input: process.stdin }).on('line', () => {
    if (asker !== undefined) createSocket('udp4').send(DATA, asker.port, asker.address);
  });
}

function ask(address: string): void {
  const socket = createSocket('udp4');
  socket.on('message', (data) => say(`got ${data.toString('latin1', 4)}`));
  socket.send(READ_REQUEST, TFTP_PORT, address);
}

if (process.argv[2] === 'server') serve();
else ask(process.argv[3]);
