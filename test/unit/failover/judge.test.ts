import { describe, expect, it } from 'vitest';
import { JOIN, judge, KEEP, REPLACE, STAY, UPDATE, writeGoal } from '../../../src/failover/judge.js';
import {
  IPS_ASSURED,
  IPS_FIXED_TIMEOUT,
  IPS_SEEN_REPLY,
  IPS_SRC_NAT,
  TCP_CONNTRACK_CLOSE_WAIT,
  TCP_CONNTRACK_ESTABLISHED,
} from '../../../src/flow/conntrack-enums.js';
import { allocateMemory, MAX_RECORD_BYTES, offMark, offState, offStatus } from '../../../src/flow/record.js';
import { type FlowDescription, makeRecord } from '../../simulation/record-maker.js';

const LIVE = IPS_SEEN_REPLY | IPS_ASSURED;
const tcp = (more: Partial<FlowDescription> = {}): FlowDescription => ({
  source: '10.0.0.1',
  destination: '10.9.0.1',
  sourcePort: 1,
  destinationPort: 80,
  status: LIVE,
  state: TCP_CONNTRACK_ESTABLISHED,
  ...more,
});
const reply = { source: '10.9.0.1', destination: '192.0.2.1', sourcePort: 80, destinationPort: 4000 };
const verdictOf = (wanted: FlowDescription, kernel: FlowDescription, isTouched = false, isBornHere = false) =>
  judge(makeRecord(wanted).m, 0, makeRecord(kernel).m, 0, isTouched, isBornHere);

describe('the judge', () => {
  it('keeps what is equal but for timeout and id, whoever touched it', () => {
    expect(verdictOf(tcp({ timeout: 9 }), tcp({ id: 4, timeout: 1 }))).toBe(KEEP);
    expect(verdictOf(tcp(), tcp(), true, true)).toBe(KEEP);
  });

  it('updates what differs in free fields, unless it was touched or born here', () => {
    expect(verdictOf(tcp({ mark: 1 }), tcp())).toBe(UPDATE);
    expect(verdictOf(tcp({ mark: 1 }), tcp(), true)).toBe(JOIN);
    expect(verdictOf(tcp({ mark: 1 }), tcp(), false, true)).toBe(JOIN);
  });

  it('replaces what no update can change: translation, master, helper', () => {
    expect(verdictOf(tcp({ reply, status: LIVE | IPS_SRC_NAT }), tcp())).toBe(REPLACE);
    expect(verdictOf(tcp({ master: tcp({ sourcePort: 21 }) }), tcp())).toBe(REPLACE);
    expect(verdictOf(tcp({ helper: 'ftp' }), tcp())).toBe(REPLACE);
    expect(verdictOf(tcp({ helper: 'ftp' }), tcp({ helper: 'sip' }))).toBe(REPLACE);
    expect(verdictOf(tcp({ helper: 'ftp', mark: 1 }), tcp({ helper: 'ftp' }))).toBe(UPDATE);
    // Labels are only ever replaced by others.
    expect(verdictOf(tcp(), tcp({ labels: 5 }))).toBe(REPLACE);
    expect(verdictOf(tcp({ labels: 6 }), tcp({ labels: 5 }))).toBe(UPDATE);
  });

  it('lets another life stay only if it was born here, is ASSURED and was seen both ways', () => {
    const kernel = (status: number): FlowDescription => tcp({ reply, status });
    expect(verdictOf(tcp(), kernel(LIVE), true, true)).toBe(STAY);
    expect(verdictOf(tcp(), kernel(LIVE), true, false)).toBe(REPLACE);
    expect(verdictOf(tcp(), kernel(IPS_SEEN_REPLY), true, true)).toBe(REPLACE);
    expect(verdictOf(tcp(), kernel(IPS_ASSURED), true, true)).toBe(REPLACE);
  });
});

describe('the goal', () => {
  const out = allocateMemory(MAX_RECORD_BYTES);
  const goal = (verdict: number, wanted: FlowDescription, kernel: FlowDescription): void => {
    writeGoal(verdict, makeRecord(wanted).m, 0, makeRecord(kernel).m, 0, out, 0);
  };

  it('of an update is the replica with the sticky bits of the kernel', () => {
    goal(UPDATE, tcp({ status: IPS_SEEN_REPLY, mark: 4 }), tcp({ status: LIVE | IPS_FIXED_TIMEOUT }));
    expect(out.u32[offStatus(4) >>> 2]).toBe(LIVE | IPS_FIXED_TIMEOUT);
    expect(out.u32[offMark(4) >>> 2]).toBe(4);
  });

  it('of a join has the status of both, the later TCP state, and the rest from the kernel', () => {
    goal(
      JOIN,
      tcp({ status: LIVE, mark: 4, state: TCP_CONNTRACK_ESTABLISHED }),
      tcp({ status: 0, mark: 5, state: TCP_CONNTRACK_CLOSE_WAIT }),
    );
    expect(out.u32[offStatus(4) >>> 2]).toBe(LIVE);
    expect(out.u32[offMark(4) >>> 2]).toBe(5);
    expect(out.u8[offState(4)]).toBe(TCP_CONNTRACK_CLOSE_WAIT);
  });
});
