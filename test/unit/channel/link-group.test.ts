import { afterEach, describe, expect, it } from 'vitest';
import { AddressInUseError, InterfaceMissingError } from '../../../native/system-error.js';
import { LinkGroup } from '../../../src/channel/link-group.js';
import type { ChannelOptions } from '../../../src/channel/multicast-channel.js';

const open: LinkGroup[] = [];
afterEach(() => {
  for (const group of open.splice(0)) group.close();
});

interface Heard {
  frames: [link: number, text: string][];
  states: [link: number, error: string | undefined][];
}

/** A link to itself on the loopback: what is sent comes back on the same link. */
const looped = (port: number, more: Partial<ChannelOptions> = {}): ChannelOptions => ({
  interface: 'lo',
  address: '127.0.0.1',
  peers: ['127.0.0.1'],
  port,
  mtu: 1500,
  ...more,
});

async function start(links: ChannelOptions[]): Promise<{ group: LinkGroup; heard: Heard }> {
  const heard: Heard = { frames: [], states: [] };
  const group = await LinkGroup.open(links, {
    onFrame: (u8, from, to, link) => {
      heard.frames.push([link, Buffer.from(u8.subarray(from, to)).toString()]);
    },
    onState: (link, error) => heard.states.push([link, error]),
  });
  open.push(group);
  return { group, heard };
}

async function until(isDone: () => boolean): Promise<void> {
  const deadline = Date.now() + 5000;
  while (!isDone()) {
    if (Date.now() > deadline) throw new Error('not within 5 s');
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

describe('a group of links', () => {
  it('sends on one link by its number, or on all, and says on which a frame came', async () => {
    const { group, heard } = await start([looped(37811), looped(37812), looped(37813)]);
    group.send(Buffer.from('two'), 3, 1);
    await until(() => heard.frames.length === 1);
    group.send(Buffer.from('every'), 5, -1);
    await until(() => heard.frames.length === 4);
    expect(heard.frames[0]).toEqual([1, 'two']);
    expect(heard.frames.slice(1).sort()).toEqual([
      [0, 'every'],
      [1, 'every'],
      [2, 'every'],
    ]);
    expect(group.channels.map(({ counters }) => counters.sentFrames)).toEqual([1, 2, 1]);
  });

  it('goes on without a link whose interface is missing, says so, and keeps its number', async () => {
    const { group, heard } = await start([looped(37814, { interface: 'nosuch0' }), looped(37815)]);
    expect(heard.states).toEqual([[0, 'ENODEV']]);
    group.send(Buffer.from('x'), 1, -1);
    await until(() => heard.frames.length === 1);
    expect(heard.frames).toEqual([[1, 'x']]);
    expect(group.channels.map((channel) => channel.isUp)).toEqual([false, true]);
    expect(group.channels[0].counters).toMatchObject({ sentFrames: 0, sendErrors: 1, lastError: 'ENODEV' });
    expect(group.receiveBufferBytes).toBe(group.channels[1].receiveBufferBytes);
  });

  it('is not opened when no link can be, and leaves none open', async () => {
    const missing = [looped(37816, { interface: 'nosuch0' }), looped(37817, { interface: 'nosuch1' })];
    await expect(start(missing)).rejects.toThrow(InterfaceMissingError);
  });

  it('calls no link one that is tried again when it gives up', async () => {
    const states: unknown[] = [];
    const events = { onFrame: () => undefined, onState: (link: number) => states.push(link) };
    const opening = LinkGroup.open([looped(37822, { interface: 'nosuch0' })], events);
    await expect(opening).rejects.toThrow(InterfaceMissingError);
    expect(states).toEqual([]);
  });

  it('is not opened when one link fails for another reason, and leaves none open', async () => {
    await start([looped(37819)]);
    await expect(start([looped(37818), looped(37819)])).rejects.toThrow(AddressInUseError);
    // The first of them was given back.
    const { group } = await start([looped(37818)]);
    expect(group.channels[0].isUp).toBe(true);
  });

  it('tells the smallest receive buffer', async () => {
    const { group } = await start([looped(37820), looped(37821, { receiveBufferBytes: 64 << 10 })]);
    expect(group.receiveBufferBytes).toBe(128 << 10);
  });
});
