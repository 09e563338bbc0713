import { afterEach, describe, expect, it } from 'vitest';
import { EINVAL } from '../../../native/libc.js';
import { openUdpSocket, udpTarget } from '../../../native/udp-socket.js';
import { type DatagramSink, DatagramSocket } from '../../../src/channel/datagram-socket.js';
import { SendQueue } from '../../../src/channel/send-queue.js';
import { FRAME_MAX_BYTES, SEND_QUEUE_FRAMES } from '../../../src/limits.js';

const PORT = 37811;
const open: DatagramSocket[] = [];

afterEach(() => {
  for (const socket of open.splice(0)) socket.close();
});

class Heard implements DatagramSink {
  readonly datagrams: string[] = [];
  tooLong = 0;
  onDatagram(u8: Uint8Array, from: number, to: number): void {
    this.datagrams.push(Buffer.from(u8.subarray(from, to)).toString());
  }
  onTooLong(): void {
    this.tooLong++;
  }
  onSentLate(): void {
    throw new Error('nothing had to wait');
  }
  onFailure(errno: number): void {
    throw new Error(`failed with errno ${errno}`);
  }
}

function start(sink: DatagramSink, address: string, port = PORT): DatagramSocket {
  const { fd } = openUdpSocket({
    interface: 'lo',
    family: 'IPv4',
    port,
    bindAddress: address,
    receiveBufferBytes: 8 << 20,
    multicastLoop: false,
  });
  const socket = new DatagramSocket(fd, sink);
  open.push(socket);
  return socket;
}

async function until(isDone: () => boolean): Promise<void> {
  const deadline = Date.now() + 3000;
  while (!isDone()) {
    if (Date.now() > deadline) throw new Error('not within 3 s');
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

const target = (port = PORT) => udpTarget('IPv4', '127.0.0.2', port, 0);

describe('a datagram socket', () => {
  it('takes a burst of many batches, in order and whole, and what comes after it', async () => {
    const heard = new Heard();
    const a = start(new Heard(), '127.0.0.1');
    start(heard, '127.0.0.2');
    const texts = Array.from({ length: 1500 }, (_, i) => `frame ${i} ${'x'.repeat(i)}`);
    for (const text of texts) a.send(Buffer.from(text), text.length, target());
    await until(() => heard.datagrams.length === texts.length);
    a.send(Buffer.from('later'), 5, target());
    await until(() => heard.datagrams.length > texts.length);
    expect(heard.datagrams).toEqual([...texts, 'later']);
  });

  it('drops and counts one that is longer than any frame, and reads on', async () => {
    const heard = new Heard();
    const a = start(new Heard(), '127.0.0.1');
    start(heard, '127.0.0.2');
    for (const bytes of [FRAME_MAX_BYTES + 1, FRAME_MAX_BYTES])
      a.send(Buffer.alloc(bytes, 'y'), bytes, target());
    await until(() => heard.datagrams.length > 0);
    expect(heard.datagrams).toEqual(['y'.repeat(FRAME_MAX_BYTES)]);
    expect(heard.tooLong).toBe(1);
  });

  it('reads to empty when asked, without the event loop', () => {
    const heard = new Heard();
    const a = start(new Heard(), '127.0.0.1');
    const b = start(heard, '127.0.0.2');
    for (let i = 0; i < 100; i++) a.send(Buffer.from('now'), 3, target());
    expect(b.read(1000)).toBe(false);
    expect(heard.datagrams.length).toBe(100);
    expect(b.read(1000)).toBe(false);
  });

  it('says that it left some when the time was up', () => {
    const heard = new Heard();
    const a = start(new Heard(), '127.0.0.1');
    const b = start(heard, '127.0.0.2');
    for (let i = 0; i < 100; i++) a.send(Buffer.from('now'), 3, target());
    expect(b.read(0)).toBe(true);
    expect(heard.datagrams.length).toBeLessThan(100);
  });

  it('hands over nothing more once its owner has closed it in the middle of a batch', async () => {
    const heard = new Heard();
    const a = start(new Heard(), '127.0.0.1');
    const seen: string[] = [];
    heard.onDatagram = (u8, from, to) => {
      seen.push(Buffer.from(u8.subarray(from, to)).toString());
      b.close();
    };
    const b = start(heard, '127.0.0.2');
    for (const text of ['one', 'two']) a.send(Buffer.from(text), 3, target());
    await until(() => seen.length > 0);
    expect(b.read(10)).toBe(false);
    expect(seen).toEqual(['one']);
  });

  it('tells what became of each datagram', () => {
    const a = start(new Heard(), '127.0.0.1');
    expect(a.send(Buffer.from('x'), 1, target())).toBe(0);
    expect(a.send(Buffer.from('x'), 1, target(0))).toBe(EINVAL);
  });
});

describe('the queue of what could not be sent yet', () => {
  it('gives back in order, goes round, and refuses one more than fits', () => {
    const queue = new SendQueue();
    const to = new Uint8Array(1);
    const taken: number[] = [];
    for (let i = 0; i < 10; i++) expect(queue.push(new Uint8Array(1), i, to)).toBe(true);
    for (let i = 0; i < 10; i++, queue.shift()) taken.push(queue.length);
    expect(taken).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    for (let i = 0; i < SEND_QUEUE_FRAMES; i++)
      expect(queue.push(new Uint8Array([i & 0xff]), i, to)).toBe(true);
    expect(queue.push(new Uint8Array(1), 1, to)).toBe(false);
    for (let i = 0; i < SEND_QUEUE_FRAMES; i++, queue.shift()) {
      expect([queue.length, queue.frame[0], queue.target]).toEqual([i, i & 0xff, to]);
    }
    expect(queue.isEmpty).toBe(true);
  });
});
