import { describe, expect, it, test } from 'vitest';
import { CommitTimeouts } from '../../../src/failover/commit-timeouts.js';
import {
  IPPROTO_GRE,
  IPPROTO_SCTP,
  IPS_ASSURED,
  IPS_FIXED_TIMEOUT,
  TCP_CONNTRACK_CLOSE,
  TCP_CONNTRACK_CLOSE_WAIT,
  TCP_CONNTRACK_ESTABLISHED,
  TCP_CONNTRACK_FIN_WAIT,
  TCP_CONNTRACK_TIME_WAIT,
} from '../../../src/flow/conntrack-enums.js';
import { OFF_PROTOCOL, offState } from '../../../src/flow/record.js';
import { GRE_COMMIT_S } from '../../../src/limits.js';
import { type FlowDescription, makeRecord } from '../../simulation/record-maker.js';

const ENDS = { source: '10.0.0.1', destination: '10.9.0.1', sourcePort: 1, destinationPort: 2 };
const tcp = (state: number, timeout?: number, status = 0): FlowDescription => ({
  ...ENDS,
  state,
  status,
  ...(timeout === undefined ? {} : { timeout }),
});
const udp = (timeout?: number, status = 0): FlowDescription => ({
  ...ENDS,
  protocol: 'udp',
  status,
  ...(timeout === undefined ? {} : { timeout }),
});

const plain = new CommitTimeouts();
const of = (flow: FlowDescription, timeouts = plain): number => timeouts.of(makeRecord(flow).m, 0);

describe('the timeout of an established TCP flow', () => {
  it('is what the kernel gives the state, whatever an event said', () => {
    expect(of(tcp(TCP_CONNTRACK_ESTABLISHED, 300))).toBe(432_000);
    const tuned = new CommitTimeouts({
      read: (name) => (name === 'tcp_timeout_established' ? 7440 : undefined),
    });
    expect(of(tcp(TCP_CONNTRACK_ESTABLISHED, 300), tuned)).toBe(7440);
    expect(of(tcp(TCP_CONNTRACK_ESTABLISHED), tuned)).toBe(7440);
  });

  it('is commit_timeout where that is given, and its own where it is fixed', () => {
    const timeouts = new CommitTimeouts({ establishedS: 180, read: () => 7440 });
    expect(of(tcp(TCP_CONNTRACK_ESTABLISHED, 431_000), timeouts)).toBe(180);
    expect(of(tcp(TCP_CONNTRACK_ESTABLISHED, 5, IPS_FIXED_TIMEOUT), timeouts)).toBe(5);
  });
});

describe('the timeout of any other flow', () => {
  it('is its own, but at least the floor', () => {
    expect(of(tcp(TCP_CONNTRACK_CLOSE_WAIT, 50))).toBe(50);
    expect(of(tcp(TCP_CONNTRACK_CLOSE_WAIT, 3))).toBe(30);
    expect(of(udp(3))).toBe(30);
    expect(of(udp(3, IPS_FIXED_TIMEOUT))).toBe(3);
    // A rule's timeout, which this kernel's sysctls know nothing of.
    expect(of(tcp(TCP_CONNTRACK_TIME_WAIT, 3000))).toBe(3000);
  });

  it('is raised no further than this kernel goes for the state', () => {
    expect(of(tcp(TCP_CONNTRACK_CLOSE, 2))).toBe(10);
    const high = new CommitTimeouts({ floors: { tcp: 3600, udp: 3600, sctp: 0, icmp: 0, other: 0 } });
    expect(of(tcp(TCP_CONNTRACK_TIME_WAIT, 2), high)).toBe(120);
    expect(of(udp(2), high)).toBe(30);
    expect(of(udp(2, IPS_ASSURED), high)).toBe(120);
  });

  it('is what this kernel gives the state where none was told: TIME_WAIT does not live for days', () => {
    expect(of(tcp(TCP_CONNTRACK_TIME_WAIT))).toBe(120);
    expect(of(tcp(TCP_CONNTRACK_FIN_WAIT))).toBe(120);
    expect(of(udp())).toBe(30);
    expect(of(udp(undefined, IPS_ASSURED))).toBe(120);
    expect(of({ ...ENDS, protocol: 'icmp' })).toBe(30);
  });

  test.each([
    ['SCTP, ESTABLISHED', IPPROTO_SCTP, 4, 0, 210],
    ['SCTP, SHUTDOWN_SENT', IPPROTO_SCTP, 5, 0, 3],
    ['SCTP, a state of a later kernel', IPPROTO_SCTP, 12, 0, 10],
    ['ESP', 50, 0, IPS_ASSURED, 600],
  ])('%s', (_, protocol, state, status, seconds) => {
    const { m } = makeRecord(udp(undefined, status));
    m.u8[OFF_PROTOCOL] = protocol;
    m.u8[offState(4)] = state;
    expect(plain.of(m, 0)).toBe(seconds);
    // A second is left of it, and the floor is 30.
    const late = makeRecord(udp(1, status)).m;
    late.u8[OFF_PROTOCOL] = protocol;
    late.u8[offState(4)] = state;
    expect(plain.of(late, 0)).toBe(Math.min(30, seconds));
  });

  it('is a long one for GRE, of which the kernel renews none that it has not set itself', () => {
    const { m } = makeRecord(udp(20, IPS_FIXED_TIMEOUT));
    m.u8[OFF_PROTOCOL] = IPPROTO_GRE;
    expect(plain.of(m, 0)).toBe(GRE_COMMIT_S);
  });

  it('follows the sysctls when they are read again', () => {
    let seconds = 30;
    const timeouts = new CommitTimeouts({ read: () => seconds });
    seconds = 50;
    expect(of(udp(), timeouts)).toBe(30);
    timeouts.refresh();
    expect(of(udp(), timeouts)).toBe(50);
  });
});
