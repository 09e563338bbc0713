import { afterEach, describe, expect, it } from 'vitest';
import { AddressInUseError, InterfaceMissingError } from '../../../native/system-error.js';
import { type ChannelOptions, MulticastChannel } from '../../../src/channel/multicast-channel.js';

const open: MulticastChannel[] = [];

async function start(options: Partial<ChannelOptions>, got: string[] = []): Promise<MulticastChannel> {
  const all = { interface: 'lo', address: '127.0.0.1', port: 37801, mtu: 1500, ...options };
  const channel = new MulticastChannel(all, (u8, from, to) => {
    got.push(Buffer.from(u8.subarray(from, to)).toString());
  });
  open.push(channel);
  await channel.open();
  return channel;
}

async function until(isDone: () => boolean): Promise<void> {
  const deadline = Date.now() + 3000;
  while (!isDone()) {
    if (Date.now() > deadline) throw new Error('not within 3 s');
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

afterEach(() => {
  for (const channel of open.splice(0)) channel.close();
});

describe('a link', () => {
  it('carries frames to one peer, and counts them at both ends', async () => {
    const got: string[] = [];
    const a = await start({ address: '127.0.0.1', peers: ['127.0.0.2'] });
    const b = await start({ address: '127.0.0.2', peers: ['127.0.0.1'] }, got);
    a.send(Buffer.from('hello, and what is not sent'), 5);
    await until(() => got.length > 0);
    expect(got).toEqual(['hello']);
    expect(a.counters).toMatchObject({ sentFrames: 1, sentBytes: 5, sendErrors: 0 });
    expect(b.counters).toMatchObject({ receivedFrames: 1, receivedBytes: 5 });
    expect(b.receiveBufferBytes).toBeGreaterThan(0);
    expect(b.ifindex).toBeGreaterThan(0);
  });

  it('sends each frame to each of several peers, and counts every datagram', async () => {
    const got: string[][] = [[], []];
    await start({ address: '127.0.0.2', peers: ['127.0.0.1'] }, got[0]);
    await start({ address: '127.0.0.3', peers: ['127.0.0.1'] }, got[1]);
    const a = await start({ address: '127.0.0.1', peers: ['127.0.0.2', '127.0.0.3'] });
    a.send(Buffer.from('to both'), 7);
    await until(() => got.every((texts) => texts.length > 0));
    expect(got).toEqual([['to both'], ['to both']]);
    expect(a.counters).toMatchObject({ sentFrames: 2, sentBytes: 14, sendErrors: 0, lastError: undefined });
  });

  it('says that a peer cannot be sent to, although the next one can', async () => {
    // A broadcast needs SO_BROADCAST: EACCES.
    const a = await start({ address: '127.0.0.1', peers: ['255.255.255.255', '127.0.0.2'], port: 37805 });
    a.send(Buffer.from('x'), 1);
    expect(a.counters).toMatchObject({ sentFrames: 2, sendErrors: 1 });
    expect(a.counters.lastError).toBe('EACCES');
    expect(a.isUp).toBe(false);
  });

  it('carries frames between IPv6 addresses', async () => {
    const got: string[] = [];
    const a = await start({ address: '::1', peers: ['::1'], port: 37806 }, got);
    a.send(Buffer.from('one'), 3);
    await until(() => got.length === 1);
    expect(got).toEqual(['one']);
  });

  it('carries frames to a group', async () => {
    const got: string[] = [];
    const a = await start({ group: '225.0.0.77', port: 37802, multicastLoop: true }, got);
    a.send(Buffer.from('to all'), 6);
    await until(() => got.length > 0);
    expect(got).toEqual(['to all']);
  });

  it('says which interface is missing', async () => {
    await expect(start({ interface: 'nosuch0', group: '225.0.0.77' })).rejects.toThrow(InterfaceMissingError);
  });

  it('says that another daemon has the port', async () => {
    await start({ group: '225.0.0.77', port: 37803 });
    await expect(start({ group: '225.0.0.77', port: 37803 })).rejects.toThrow(AddressInUseError);
  });

  it('counts what cannot be sent any more', async () => {
    const a = await start({ address: '127.0.0.1', peers: ['127.0.0.2'], port: 37804 });
    a.close();
    a.send(Buffer.from('x'), 1);
    expect(a.counters.sendErrors).toBe(1);
    expect(a.counters.sentFrames).toBe(0);
  });

  it('refuses options that name nobody to send to', async () => {
    await expect(start({})).rejects.toThrow(RangeError);
  });
});
