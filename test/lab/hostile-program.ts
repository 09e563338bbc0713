/**
 * A stranger on the sync link, as a program: hears the frames of the cluster and sends COUNT datagrams back, in turn
 * random bytes, frames with bits flipped, cut, lengthened or with one header field changed, frames sent again, and
 * frames of a node nobody knows.   hostile-program.js GROUP PORT OWN_ADDRESS COUNT SEED
 */
import { createSocket, type Socket } from 'node:dgram';
import { setTimeout as pause } from 'node:timers/promises';
import { decode, encode } from '@msgpack/msgpack';
import { type Random, randomFrom } from './random.js';

const LISTEN_MS = 2000;
const HEARD_MAX = 500;
const BURST = 200;
/** 20,000 datagrams a second: fast, but most of them fit into the receivers' buffers. */
const BURST_PAUSE_MS = 10;
const HEADER_FIELDS = 8;

class Stranger {
  constructor(
    private readonly heard: readonly Uint8Array[],
    private readonly random: Random,
  ) {}

  datagram(n: number): Uint8Array {
    switch (n % 7) {
      case 0:
        return this.bytes(this.random(1400));
      case 1:
        return this.flipped(this.frame());
      case 2:
        return this.frame().subarray(0, this.random(100));
      case 3:
        return Buffer.concat([this.frame(), this.bytes(1 + this.random(4000))]);
      case 4:
        return this.frame();
      case 5:
        return this.changed(this.frame(), this.random(HEADER_FIELDS));
      default:
        return this.foreign(this.frame());
    }
  }

  private frame(): Uint8Array {
    return this.heard[this.random(this.heard.length)];
  }

  private bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.random(256));
  }

  private flipped(frame: Uint8Array): Uint8Array {
    const copy = Uint8Array.from(frame);
    for (let i = 0; i <= this.random(4); i++) copy[this.random(copy.length)] ^= 1 << this.random(8);
    return copy;
  }

  private changed(frame: Uint8Array, field: number): Uint8Array {
    const fields = decode(frame) as unknown[];
    const values = [null, -1, 2 ** 40, '', 'x'.repeat(300), this.bytes(16), [1, [2, [3]]], true];
    fields[field] = values[this.random(values.length)];
    return encode(fields);
  }

  private foreign(frame: Uint8Array): Uint8Array {
    const fields = decode(frame) as unknown[];
    fields[2] = `stranger${this.random(1000)}`;
    fields[3] = this.bytes(16);
    return encode(fields);
  }
}

function listen(group: string, port: number, address: string): Promise<[Socket, Uint8Array[]]> {
  const socket = createSocket('udp4');
  const heard: Uint8Array[] = [];
  socket.on('message', (frame) => {
    if (heard.length < HEARD_MAX) heard.push(frame);
  });
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.bind(port, () => {
      socket.addMembership(group, address);
      socket.setMulticastInterface(address);
      resolve([socket, heard]);
    });
  });
}

async function main([group, port, address, count, seed]: string[]): Promise<void> {
  const [socket, heard] = await listen(group, Number(port), address);
  await pause(LISTEN_MS);
  if (heard.length === 0) throw new Error(`no frame of the cluster was heard on ${group}:${port}`);
  const stranger = new Stranger([...heard], randomFrom(Number(seed)));
  for (let n = 0; n < Number(count); n++) {
    socket.send(stranger.datagram(n), Number(port), group);
    if (n % BURST === BURST - 1) await pause(BURST_PAUSE_MS);
  }
  process.stdout.write(`${JSON.stringify({ heard: heard.length, sent: Number(count) })}\n`);
  socket.close();
}

await main(process.argv.slice(2));
