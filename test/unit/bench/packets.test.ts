import { expect, test } from 'vitest';
import { type Step, StepPackets, TCP_STEPS, UDP_STEPS } from '../../bench/packets.js';

const CLIENT = Uint8Array.of(10, 1, 0, 100);
const SERVER = Uint8Array.of(10, 2, 0, 100);

/** The packet of conversation `n`, as second of a batch. */
function packetOf(step: Step, n: number): DataView {
  const packets = new StepPackets(step, CLIENT, SERVER, 2);
  packets.set(1, n);
  const { batch } = packets;
  return new DataView(batch.data.buffer, batch.start(1), batch.slotBytes);
}

/** RFC 1071: the sum over pseudo header and segment, checksum included, is all ones where it is right. */
function sumOf(packet: DataView, protocol: number): number {
  let sum = protocol + packet.byteLength - 20;
  for (let at = 12; at < packet.byteLength; at += 2) sum += packet.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

test('every packet has a right checksum, whatever the conversation', () => {
  for (const n of [0, 1, 59_999, 60_000, 1_234_567]) {
    for (const step of TCP_STEPS) expect(sumOf(packetOf(step, n), 6)).toBe(0xffff);
    for (const step of UDP_STEPS) expect(sumOf(packetOf(step, n), 17)).toBe(0xffff);
  }
});

test('the ends of a conversation use the same two ports, the other way round, and no two conversations both', () => {
  const [question, answer] = TCP_STEPS.map((step) => packetOf(step, 60_001));
  expect([question.getUint16(20), question.getUint16(22)]).toEqual([1025, 2001]);
  expect([answer.getUint16(20), answer.getUint16(22)]).toEqual([2001, 1025]);
});

test('each end acknowledges all that the other has said so far', () => {
  const said = { client: 0, server: 0 };
  for (const step of TCP_STEPS) {
    const other = step.end === 'client' ? 'server' : 'client';
    if (said[other] > 0) expect(step.acknowledged).toBe(said[other]);
    if (said[step.end] > 0) expect(step.sequence).toBe(said[step.end]);
    const counts = step.payloadBytes + (step.flags & 3 ? 1 : 0);
    said[step.end] = step.sequence + counts;
  }
});
