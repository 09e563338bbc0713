/**
 * Datagrams to and fro between two ports of 127.0.0.1, so that a table has counters that are not zero:
 *     loopback-program.js COUNT
 */
import { createSocket, type Socket } from 'node:dgram';

const [FROM, TO] = [4001, 4002];

const bound = (port: number): Promise<Socket> =>
  new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.bind(port, '127.0.0.1', () => resolve(socket));
  });

const [a, b] = await Promise.all([bound(FROM), bound(TO)]);
let left = Number(process.argv[2]);
const done = (): void => {
  a.close();
  b.close();
};
b.on('message', (text) => b.send(text, FROM, '127.0.0.1'));
a.on('message', (text) => (--left > 0 ? a.send(text, TO, '127.0.0.1') : done()));
a.send('four', TO, '127.0.0.1');
