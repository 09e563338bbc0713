import { beforeEach, describe, expect, it } from 'vitest';
import { SeqadjPoll } from '../../../src/failover/seqadj-poll.js';
import { Verification } from '../../../src/failover/verify.js';
import {
  IPS_ASSURED,
  IPS_SEEN_REPLY,
  IPS_SRC_NAT,
  TCP_CONNTRACK_ESTABLISHED,
} from '../../../src/flow/conntrack-enums.js';
import { OP_GET } from '../../../src/flow/kernel-port.js';
import {
  copyRecord,
  findPart,
  offMark,
  PART_HELPER,
  PART_LABELS,
  PART_SEQADJ_ORIG,
} from '../../../src/flow/record.js';
import { SEQADJ_HURRY_DELAY_MS, SEQADJ_INTERVAL_MS, SEQADJ_POLLS_PER_LAP } from '../../../src/limits.js';
import { OWNER_SELF } from '../../../src/table/slot-bits.js';
import { FailoverNode } from '../../simulation/failover-node.js';
import { type FlowDescription, makeRecord } from '../../simulation/record-maker.js';

/** An FTP control connection, translated. */
const ftp = (port: number, more: Partial<FlowDescription> = {}): FlowDescription => ({
  source: '10.0.0.1',
  destination: '10.9.0.1',
  sourcePort: port,
  destinationPort: 21,
  status: IPS_SEEN_REPLY | IPS_ASSURED | IPS_SRC_NAT,
  state: TCP_CONNTRACK_ESTABLISHED,
  wscale: [7, 7],
  timeout: 300,
  helper: 'ftp',
  reply: { source: '10.9.0.1', destination: '192.0.2.1', sourcePort: 21, destinationPort: port },
  ...more,
});

let node: FailoverNode;
let poll: SeqadjPoll;
beforeEach(() => {
  node = new FailoverNode();
  node.role = 'primary';
  poll = new SeqadjPoll({ kernel: node.twin, table: node.table, counters: node.counters });
});

function born(flow: FlowDescription): NonNullable<ReturnType<FailoverNode['twin']['born']>> {
  const made = node.twin.born(makeRecord(flow).m, 0);
  node.drain();
  node.flush();
  if (made === undefined) throw new Error('the twin refused the flow');
  return made;
}
/** The helper rewrites a line, and the kernel tells nobody. */
function adjust(flow: ReturnType<typeof born>, description: FlowDescription, offset: number): void {
  const { m } = makeRecord({ ...description, seqadj: [1000, 0, offset] });
  node.twin.changeSilently(flow, (to, at) => copyRecord(m, 0, to, at));
}
/** What the own record says that the kernel adds from now on, or 0. */
function offsetOf(flow: FlowDescription): number {
  const { table } = node;
  const part = findPart(table.memory, table.recordAt(node.slotOf(flow)), PART_SEQADJ_ORIG);
  return part < 0 ? 0 : table.memory.u32[(part + 12) >>> 2];
}
const pass = (ms: number): void => {
  for (const end = node.timeMs + ms; node.timeMs < end; node.timeMs += 10) poll.step(node.timeMs);
};
const asked = (): number => node.twin.requests[OP_GET];

describe('the sequence adjustment of own flows', () => {
  it('reaches table and stream within a second, and again when it changes', () => {
    const flow = born(ftp(1));
    poll.step(node.timeMs);
    for (const offset of [2, 4]) {
      adjust(flow, ftp(1), offset);
      expect(offsetOf(ftp(1))).toBe(offset - 2);
      pass(SEQADJ_INTERVAL_MS + 20);
      expect(offsetOf(ftp(1))).toBe(offset);
      expect(node.flush()).toEqual(['upsert']);
      expect(node.difference()).toBeUndefined();
    }
    pass(3000);
    expect(node.flush()).toEqual([]);
  });

  it('is asked for soon when the helper is at work, and not before it has rewritten the line', () => {
    const flow = born(ftp(1));
    poll.step(node.timeMs);
    adjust(flow, ftp(1), 2);
    const before = asked();
    poll.hurry(node.slotOf(ftp(1)), node.timeMs);
    poll.step(node.timeMs + SEQADJ_HURRY_DELAY_MS - 1);
    expect(asked()).toBe(before);
    poll.step(node.timeMs + SEQADJ_HURRY_DELAY_MS);
    expect(offsetOf(ftp(1))).toBe(2);
  });

  it('is asked for only where there can be one: own, in the kernel, with a helper, translated', () => {
    born(ftp(1, { helper: undefined }));
    born(ftp(2, { status: IPS_SEEN_REPLY, reply: undefined }));
    node.hear(node.addPeer('fw1'), ftp(3));
    const before = asked();
    pass(3000);
    expect(asked()).toBe(before);
    born(ftp(4));
    pass(SEQADJ_INTERVAL_MS + 20);
    expect(asked()).toBeGreaterThan(before);
  });

  it('is asked for of flows that were taken over, and no longer of those that ended', () => {
    const peer = node.addPeer('fw1');
    node.role = 'backup';
    node.hear(peer, ftp(1));
    node.hear(peer, ftp(2));
    node.finish(node.promotion());
    pass(SEQADJ_INTERVAL_MS + 20);
    expect(node.table.helped.length).toBe(2);
    const flow = node.twin.find(makeRecord(ftp(1)).m, 0);
    if (flow === undefined) throw new Error('not committed');
    adjust(flow, ftp(1), 6);
    pass(SEQADJ_INTERVAL_MS + 20);
    expect(offsetOf(ftp(1))).toBe(6);
    node.twin.die(flow);
    node.drain();
    node.flush();
    pass(SEQADJ_INTERVAL_MS + 20);
    expect(node.table.helped.length).toBe(1);
  });

  it('takes turns where there are more flows than a lap may ask for', () => {
    const many = SEQADJ_POLLS_PER_LAP + 1000;
    for (let i = 0; i < many; i++) node.twin.born(makeRecord(ftp(1000 + i)).m, 0);
    node.drain();
    const last = node.twin.find(makeRecord(ftp(1000 + many - 1)).m, 0);
    if (last === undefined) throw new Error('not there');
    adjust(last, ftp(1000 + many - 1), 2);
    const before = asked();
    pass(SEQADJ_INTERVAL_MS - 10);
    expect(asked() - before).toBe(SEQADJ_POLLS_PER_LAP);
    expect(offsetOf(ftp(1000 + many - 1))).toBe(0);
    pass(SEQADJ_INTERVAL_MS);
    expect(asked() - before).toBeLessThanOrEqual(2 * SEQADJ_POLLS_PER_LAP);
    expect(offsetOf(ftp(1000 + many - 1))).toBe(2);
  });

  it('is all known when a lap was started and is done', () => {
    const flows = [1, 2, 3].map((port) => born(ftp(port)));
    poll.step(node.timeMs);
    for (const [i, flow] of flows.entries()) adjust(flow, ftp(i + 1), 8);
    poll.startLap();
    expect(poll.isLapDone).toBe(false);
    poll.step(node.timeMs);
    expect(poll.isLapDone).toBe(true);
    expect([1, 2, 3].map((port) => offsetOf(ftp(port)))).toEqual([8, 8, 8]);
  });

  it('changes nothing else of the record, and nothing of another life', () => {
    const flow = born(ftp(1));
    poll.step(node.timeMs);
    adjust(flow, ftp(1, { mark: 7, labels: 9 }), 2);
    pass(SEQADJ_INTERVAL_MS + 20);
    const { table } = node;
    const slot = node.slotOf(ftp(1));
    expect(table.memory.u32[(table.recordAt(slot) + offMark(4)) >>> 2]).toBe(0);
    expect(findPart(table.memory, table.recordAt(slot), PART_LABELS)).toBe(-1);
    expect(findPart(table.memory, table.recordAt(slot), PART_HELPER)).toBeGreaterThan(0);
    node.twin.die(flow);
    node.twin.knobs.sameIdRate = 0;
    const next = node.twin.born(makeRecord(ftp(1)).m, 0);
    if (next === undefined) throw new Error('refused');
    adjust(next, ftp(1), 50);
    pass(SEQADJ_INTERVAL_MS + 20);
    expect(offsetOf(ftp(1))).toBe(2);
    node.drain();
    pass(SEQADJ_INTERVAL_MS + 20);
    expect(offsetOf(ftp(1))).toBe(50);
  });
});

describe('verify', () => {
  const verified = (): Verification => {
    const parts = { ...node.parts, generations: node.generations, seqadj: poll };
    const verification = new Verification(parts);
    node.finish(verification);
    return verification;
  };

  it('is not alarmed by an adjustment of a moment ago', () => {
    const flow = born(ftp(1));
    adjust(flow, ftp(1), 2);
    expect(verified().report).toMatchObject({ differing: 0, isProvable: true });
    expect(offsetOf(ftp(1))).toBe(2);
    expect(node.table.owner(node.slotOf(ftp(1)))).toBe(OWNER_SELF);
  });

  it('is alarmed by one that nobody asks for, and by anything else that differs', () => {
    const plain = born(ftp(1, { helper: undefined }));
    adjust(plain, ftp(1, { helper: undefined }), 2);
    const other = born(ftp(2));
    adjust(other, ftp(2, { labels: 3 }), 2);
    expect(verified().report.differing).toBe(2);
  });
});
