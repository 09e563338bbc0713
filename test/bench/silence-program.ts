/**
 * A third node on the sync link that only listens, and notes how long each of the others was silent at most:
 *   silence-program.js     for each line on standard input, one JSON line {ADDRESS: milliseconds}, and starts anew
 */
import { createSocket } from 'node:dgram';
import { createInterface } from 'node:readline';
import { SYNC_GROUP, SYNC_PORT } from '../lab/lab-daemon.js';

/** Of fw3, which runs no daemon. */
const ADDRESS = '10.9.0.3';

const longest = new Map<string, number>();
const lastAt = new Map<string, number>();
const socket = createSocket('udp4');
socket.on('message', (_, { address }) => {
  const now = performance.now();
  const gap = now - (lastAt.get(address) ?? now);
  lastAt.set(address, now);
  if (gap > (longest.get(address) ?? 0)) longest.set(address, gap);
});
socket.bind(SYNC_PORT, () => {
  socket.setRecvBufferSize(1 << 22);
  socket.addMembership(SYNC_GROUP, ADDRESS);
  process.stdout.write('ready\n');
});
for await (const _ of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(Object.fromEntries(longest))}\n`);
  longest.clear();
}
process.exit();
