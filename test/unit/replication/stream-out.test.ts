import { expect, it } from 'vitest';
import { CounterMap } from '../../../src/flow/counters.js';
import { RECEIVE_BUFFER_MIN_BYTES } from '../../../src/limits.js';
import { FrameRing } from '../../../src/replication/frame-ring.js';
import { Peer } from '../../../src/replication/peer.js';
import { Self } from '../../../src/replication/self.js';
import { StreamOut } from '../../../src/replication/stream-out.js';
import { Window } from '../../../src/replication/window.js';
import { FlowTable } from '../../../src/table/flow-table.js';
import { OP_END, OpReader } from '../../../src/wire/op-reader.js';
import { WIRE_DECLARE, WIRE_SUMS } from '../../../src/wire/ops.js';

const TAKEOVERS = 9;
/** So many fill a frame. */
const SEEDS = 12;

it('says all takeovers again before the sums, and goes no further than the window has room', () => {
  let now = 1000;
  const sent: Uint8Array[] = [];
  const incarnation = new Uint8Array(16).fill(1);
  const self = new Self(
    {
      table: new FlowTable({ seed: new Uint32Array(4), maxFlows: 16 }),
      now: () => now,
      random: () => 0.5,
      randomBytes: (n) => new Uint8Array(n),
      send: (frame, length) => sent.push(frame.slice(0, length)),
      counters: new CounterMap(),
      log: () => undefined,
      onPeer: () => undefined,
      onConflict: () => undefined,
    },
    { node: 'fw1', cluster: 'c', incarnation, bootId: 'b', mtu: 1500 },
  );
  const ring = new FrameRing(self.frameBytes);
  const window = new Window(self, ring);
  const out = new StreamOut(self, ring, window);
  const peer = new Peer('fw2', new Uint8Array(16).fill(2), 2, 'b', 0, now, now, 1, 0);
  Object.assign(peer, { isReceiver: true, receiveBuffer: RECEIVE_BUFFER_MIN_BYTES });
  self.peers.push(peer);
  self.isMirrorReady = true;
  /** Flushes once, and says how many frames were sent, and how many there was room for. */
  const flush = (): [frames: number, room: number] => {
    now += 10;
    const [before, room] = [sent.length, window.room(out.sequence, now)];
    out.flush(now);
    return [sent.length - before, room];
  };
  for (let i = 0; i < TAKEOVERS; i++) {
    const seeds = Array.from({ length: SEEDS }, (_, n) => ({
      node: `${i}-${n}`.padEnd(60, 'x'),
      incarnation: Uint8Array.from({ length: 16 }, (_, at) => (at === 0 ? i : n)),
      cut: 1,
    }));
    out.declare(seeds, false, 5, 'whole');
    flush();
    peer.theirApplied = out.sequence;
  }
  // It has acknowledged so much that two more frames find room.
  const { sequence } = out;
  for (let n = 0; window.room(out.sequence, now) > 2; n++) {
    out.declare([], false, 5 + n, 'whole');
    flush();
  }
  expect(out.sequence).toBeGreaterThan(sequence);
  const begun = sent.length;
  out.desk.areGroupsWanted = true;
  for (let n = 0; n < 20; n++) {
    const [frames, room] = flush();
    // The one that was begun while there was room is not counted.
    expect(frames).toBeLessThanOrEqual(room + 1);
    if (n % 2 === 1) peer.theirApplied = Math.min(out.sequence, peer.theirApplied + 2);
  }
  const said = sent.slice(begun).flatMap((frame) => declaredIn(frame, self));
  expect(said).toEqual([...Array(TAKEOVERS).fill('declare'), 'sums']);
});

/** What a frame says of takeovers and sums, in its order. */
function declaredIn(frame: Uint8Array, { frames }: Self): string[] {
  const ops = new OpReader();
  const said: string[] = [];
  ops.start(frame, frames.headBytes, frame.length - frames.tailBytes);
  for (let op = ops.next(); op !== OP_END; op = ops.next()) {
    if (op === WIRE_DECLARE && ops.seeds.length > 0) said.push('declare');
    if (op === WIRE_SUMS) said.push('sums');
  }
  return said;
}
