/**
 * A stranger on the sync link who keeps what he hears and says it again, as a program; its report is a JSON line:
 *   wire-tap-program.js record GROUP PORT OWN_ADDRESS FILE                        until standard input ends
 *   wire-tap-program.js replay GROUP PORT OWN_ADDRESS FILE PER_SECOND             all of it, as it was
 *   wire-tap-program.js mutate GROUP PORT OWN_ADDRESS FILE PER_SECOND COUNT SEED  COUNT spoilt copies
 */
import { createSocket, type Socket } from 'node:dgram';
import { setTimeout as pause } from 'node:timers/promises';
import { readCapture, writeCapture } from './capture.js';
import { type Random, randomFrom } from './random.js';

const BURST = 100;
const RECEIVE_BUFFER_BYTES = 4 << 20;
/** Bytes that are heard before the record is full. */
const HEARD_MAX_BYTES = 256 << 20;
/** Where a frame's header ends at the latest: half of the flips are before it. */
const HEAD_BYTES = 48;

function open(group: string, port: number, address: string): Promise<Socket> {
  const socket = createSocket('udp4');
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.bind(port, () => {
      socket.addMembership(group, address);
      socket.setMulticastInterface(address);
      socket.setMulticastLoopback(false);
      resolve(socket);
    });
  });
}

async function record(socket: Socket, file: string): Promise<object> {
  socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES);
  const heard: Uint8Array[] = [];
  let bytes = 0;
  socket.on('message', (frame) => {
    bytes += frame.length;
    if (bytes <= HEARD_MAX_BYTES) heard.push(frame);
  });
  process.stdout.write('listening\n');
  process.stdin.resume();
  await new Promise((resolve) => process.stdin.once('end', resolve));
  writeCapture(file, heard);
  return { frames: heard.length, bytes };
}

/** A copy with bits flipped, cut, or lengthened; it always differs. */
function mutated(frame: Uint8Array, random: Random): Uint8Array {
  const kind = random(4);
  if (kind === 0) return frame.subarray(0, random(frame.length));
  if (kind === 1) {
    const tail = Uint8Array.from({ length: 1 + random(1400) }, () => random(256));
    return Buffer.concat([frame, tail]);
  }
  const copy = Uint8Array.from(frame);
  const range = kind === 2 ? Math.min(HEAD_BYTES, frame.length) : frame.length;
  // An odd number of flips can not undo itself.
  for (let flips = 1 + 2 * random(3); flips > 0; flips--) copy[random(range)] ^= 1 << random(8);
  return copy;
}

/** Sends at a rate, a burst after the other; done when the last datagram has left. */
async function send(
  say: (frame: Uint8Array) => Promise<void>,
  count: number,
  perSecond: number,
  frameAt: (n: number) => Uint8Array,
): Promise<object> {
  const start = performance.now();
  for (let n = 0; n < count; ) {
    const burst: Promise<void>[] = [];
    for (; n < count && burst.length < BURST; n++) burst.push(say(frameAt(n)));
    await Promise.all(burst);
    await pause(Math.max(0, start + (n / perSecond) * 1000 - performance.now()));
  }
  return { sent: count, durationMs: Math.round(performance.now() - start) };
}

async function main([verb, group, port, address, file, ...rest]: string[]): Promise<void> {
  const socket = await open(group, Number(port), address);
  const [perSecond, count, seed] = rest.map(Number);
  const say = (frame: Uint8Array) =>
    new Promise<void>((resolve, reject) => {
      socket.send(frame, Number(port), group, (error) => (error === null ? resolve() : reject(error)));
    });
  let report: object;
  if (verb === 'record') report = await record(socket, file);
  else if (verb === 'replay') {
    const frames = readCapture(file);
    report = await send(say, frames.length, perSecond, (n) => frames[n]);
  } else if (verb === 'mutate') {
    const frames = readCapture(file);
    const random = randomFrom(seed);
    report = await send(say, count, perSecond, () => mutated(frames[random(frames.length)], random));
  } else throw new RangeError(`no such verb: ${verb}`);
  process.stdout.write(`${JSON.stringify(report)}\n`);
  socket.close();
}

await main(process.argv.slice(2));
