import { beforeEach, describe, expect, it } from 'vitest';
import { ExpectationAudit } from '../../../src/failover/expectation-audit.js';
import { CounterMap } from '../../../src/flow/counters.js';
import { cloneExpectation, EXP_OFF_TIMEOUT } from '../../../src/flow/expectation.js';
import { type Expectation, recordFromExpectation } from '../../../src/flow/expectation-text.js';
import { EVENT_NEW } from '../../../src/flow/kernel-port.js';
import { EXPECTATIONS_WAIT_MS } from '../../../src/limits.js';
import { EventRules } from '../../../src/table/event-rules.js';
import type { ExpectationChoice } from '../../../src/table/expectation-rules.js';
import { FlowTable } from '../../../src/table/flow-table.js';
import { OWNER_SELF } from '../../../src/table/slot-bits.js';
import { KernelTwin } from '../../simulation/kernel-twin.js';
import type { TwinFlow } from '../../simulation/kernel-twin-flows.js';
import { makeRecord } from '../../simulation/record-maker.js';

const SIP = { protocol: 'udp', source: '10.0.0.1', destination: '10.9.0.1', destinationPort: 5060 } as const;

const expected = (port: number, call = 1): Expectation => ({
  family: 'ipv4',
  protocol: 'udp',
  tuple: { source: '10.9.0.1', destination: '10.0.0.1', sourcePort: 0, destinationPort: port },
  mask: { source: '255.255.255.255', destination: '255.255.255.255', sourcePort: 0, destinationPort: 65535 },
  master: {
    protocol: 'udp',
    source: '10.0.0.1',
    destination: '10.9.0.1',
    sourcePort: call,
    destinationPort: 5060,
  },
  class: 1,
  flags: 0,
});

let now: number;
let twin: KernelTwin;
let table: FlowTable;
let rules: EventRules;
let isPrimary: boolean;
let emptied: number;
/** How often somebody was asked to look at the kernel again. */
let waiting: number;

function open(choice: ExpectationChoice = 'all'): void {
  now = 1000;
  emptied = 0;
  waiting = 0;
  isPrimary = true;
  twin = new KernelTwin({ now: () => now });
  table = new FlowTable({ seed: Uint32Array.of(1, 2, 3, 4), maxFlows: 1000 });
  const get = () => false;
  const counters = new CounterMap();
  rules = new EventRules({
    table,
    counters,
    now: () => now,
    isPrimary: () => isPrimary,
    get,
    expectations: choice,
    onInactiveExpectation: () => {
      waiting++;
    },
  });
}
beforeEach(() => open());

const call = (n: number): TwinFlow => {
  const flow = twin.born(makeRecord({ ...SIP, sourcePort: n, timeout: 600, helper: 'sip' }).m, 0);
  if (flow === undefined) throw new Error('refused');
  return flow;
};
const announce = (port: number, n = 1) =>
  twin.expectations.announce(recordFromExpectation(expected(port, n)), 0);
const drain = (): void => {
  while (twin.drain(rules, 1));
  emptied++;
};
const lose = (): void => {
  while (twin.drain({ event: () => undefined }, 1));
};
const own = (): number => table.expectations.countOf(OWNER_SELF);
const parts = () => ({
  kernel: twin,
  table,
  rules: rules.expectations,
  counters: new CounterMap(),
  clock: () => now,
  emptied: () => emptied,
});
/** Runs one to its end; `meanwhile` happens once, after the dump was read. */
function run(mode: 'repair' | 'judge', meanwhile?: () => void): ExpectationAudit {
  const audit = new ExpectationAudit(parts(), mode);
  for (let i = 0; i < 100 && !audit.step(now); i++) {
    meanwhile?.();
    meanwhile = undefined;
    now += 100;
    drain();
  }
  expect(audit.phase).toBe('done');
  return audit;
}

describe('a registration that the registrar accepts, of which the kernel tells nobody', () => {
  const PERMANENT = 1;
  const INACTIVE = 2;
  const registered = (flags: number): Expectation => ({ ...expected(2000), class: 0, flags, timeout: 3600 });
  /** The helper puts the expectation right where it stands. */
  const grant = (): void => {
    lose();
    twin.expectations.announce(recordFromExpectation(registered(PERMANENT)), 0);
    twin.expectations.update(recordFromExpectation(registered(PERMANENT)), 0);
    lose();
  };
  const ours = () => table.expectations.find(OWNER_SELF, recordFromExpectation(registered(0)), 0);

  beforeEach(() => {
    call(1);
    twin.expectations.announce(recordFromExpectation(registered(PERMANENT | INACTIVE)), 0);
    drain();
    const entry = ours();
    if (entry === undefined) throw new Error('the registration was not taken');
    table.expectations.setImage(entry);
  });

  it('asks for a look at the kernel while it waits, also after a look that found it waiting', () => {
    expect(waiting).toBe(1);
    run('repair');
    expect(waiting).toBe(2);
    grant();
    run('repair');
    expect(waiting).toBe(2);
  });

  it('is said to the peers with its new time, and is no difference to a verification', () => {
    grant();
    expect(run('judge').report).toMatchObject({ differing: 0, isProvable: true });
    expect(ours()?.record.u16[EXP_OFF_TIMEOUT >>> 1]).toBeGreaterThan(3500);
    expect([...table.expectations.dirty]).toEqual([ours()]);
    expect(run('judge').report.differing).toBe(0);
  });
});

describe('expectations of the kernel', () => {
  it('are own if their master is, come and go by events, and end with their master', () => {
    const master = call(1);
    announce(2000);
    announce(2001);
    drain();
    expect(own()).toBe(2);
    twin.expectations.use(recordFromExpectation(expected(2000)), 0);
    drain();
    expect(own()).toBe(1);
    twin.die(master);
    // The flow's end alone does it: its expectations' events may be lost.
    while (twin.drain({ event: (...a) => rules.event(...a) }, 1));
    expect(own()).toBe(0);
  });

  it('are not own without a master in the table, or on a backup whose master is a peer’s', () => {
    call(1);
    lose();
    announce(2000);
    drain();
    expect(own()).toBe(0);
    const { m } = makeRecord({ ...SIP, sourcePort: 1 });
    const slot = table.insert(m, 0, table.owners.add('peer', new Uint8Array(16)));
    isPrimary = false;
    expect(rules.expectations.isOurs(recordFromExpectation(expected(2000)), 0)).toBe(false);
    isPrimary = true;
    expect(rules.expectations.isOurs(recordFromExpectation(expected(2000)), 0)).toBe(true);
    expect(slot).toBeGreaterThanOrEqual(0);
  });

  it('are taken when their master is told of after them, as a helper does that reads the first packet', () => {
    const firstPacket = (port: number, n: number): void => {
      call(n);
      announce(port, n);
    };
    // What the kernel queues for each packet is turned round: the flow is told when it is confirmed.
    const swapped = (): void => {
      const heard: (() => void)[] = [];
      const first: (() => void)[] = [];
      const sink = {
        event: (...args: Parameters<typeof rules.event>) => heard.push(() => rules.event(...args)),
        expectation: (...args: Parameters<typeof rules.expectation>) => {
          const record = cloneExpectation(args[1], args[2]);
          first.push(() => rules.expectation(args[0], record, 0, args[3]));
        },
      };
      while (twin.drain(sink, 1));
      for (const each of [...first, ...heard]) each();
    };
    firstPacket(1001, 1);
    swapped();
    expect(own()).toBe(1);
    // Not what has ended meanwhile, and not after a while.
    firstPacket(1003, 3);
    while (twin.drain({ event: () => undefined, expectation: (...args) => rules.expectation(...args) }, 1));
    now += EXPECTATIONS_WAIT_MS;
    rules.event(EVENT_NEW, makeRecord({ ...SIP, sourcePort: 3, helper: 'sip' }).m, 0, 0, 0, 0);
    expect(own()).toBe(1);
    firstPacket(1002, 2);
    twin.expectations.use(recordFromExpectation(expected(1002, 2)), 0);
    swapped();
    expect(own()).toBe(1);
  });

  it('are chosen by the name of the helper', () => {
    for (const [choice, count] of [
      ['none', 0],
      [['ftp'], 0],
      [['ftp', 'sip'], 1],
    ] as const) {
      open(choice);
      call(1);
      announce(2000);
      drain();
      expect(own()).toBe(count);
    }
  });
});

describe('an audit of expectations', () => {
  it('finds what was missed and forgets what is gone', () => {
    call(1);
    announce(2000);
    drain();
    announce(2001);
    announce(2002);
    twin.expectations.use(recordFromExpectation(expected(2000)), 0);
    lose();
    expect(own()).toBe(1);
    expect(run('judge').report).toMatchObject({ expectations: 2, differing: 3, isProvable: true });
    expect(run('repair').report.differing).toBe(3);
    expect(own()).toBe(2);
    expect(run('judge').report).toMatchObject({ differing: 0, isProvable: true });
  });

  it('believes an event more than the dump', () => {
    call(1);
    announce(2000);
    drain();
    run('repair', () => {
      twin.expectations.use(recordFromExpectation(expected(2000)), 0);
      announce(2001);
      drain();
    });
    expect(own()).toBe(1);
    expect(table.expectations.list(OWNER_SELF).filter((e) => e.isLive)).toHaveLength(1);
    expect(run('judge').report.differing).toBe(0);
  });

  it('goes on until no event was lost meanwhile, and judges nothing then', () => {
    call(1);
    drain();
    const overrun = (): void => {
      twin.queue.drops++;
      announce(2000);
      lose();
    };
    expect(run('judge', overrun).report.isProvable).toBe(false);
    run('repair', () => {
      twin.queue.drops++;
      announce(2001);
      lose();
    });
    expect(own()).toBe(2);
  });

  /** With every look at the clock the time of a slice is over; `between` happens before each step of the comparison. */
  const runSliced = (mode: 'repair' | 'judge', between: (step: number) => void) => {
    let ticks = now;
    const audit = new ExpectationAudit({ ...parts(), clock: () => ticks++ }, mode);
    let steps = 0;
    for (let i = 0; i < 1000 && !audit.step(now); i++) {
      if (audit.phase === 'rows' || audit.phase === 'missing') between(++steps);
      else {
        now += 100;
        drain();
      }
    }
    expect(audit.phase).toBe('done');
    return { ...audit.report, steps };
  };

  it('compares a part in each slice, and leaves alone what events tell of in between', () => {
    const calls = 75;
    for (let n = 1; n <= calls; n++) {
      call(n);
      for (let port = 0; port < 4; port++) announce(2000 + 4 * n + port, n);
    }
    drain();
    const port = (n: number): number => 2000 + 4 * n;
    // Missed: the first of the first calls is gone, and there is one that nobody has told of.
    twin.expectations.use(recordFromExpectation(expected(port(1), 1)), 0);
    twin.expectations.use(recordFromExpectation(expected(port(2), 2)), 0);
    announce(1999, 2);
    lose();
    const repaired = runSliced('repair', (step) => {
      if (step !== 2) return;
      twin.expectations.use(recordFromExpectation(expected(port(calls), calls)), 0);
      twin.expectations.use(recordFromExpectation(expected(port(3), 3)), 0);
      announce(1998, 1);
      drain();
    });
    expect(repaired).toMatchObject({ differing: 3, isProvable: true });
    expect(repaired.steps).toBeGreaterThan((2 * 4 * calls) / 64 - 1);
    expect(own()).toBe(4 * calls - 4 + 2);
    expect(runSliced('judge', () => undefined)).toMatchObject({ differing: 0, expectations: own() });
  });

  it('that loses events while it compares is not the last', () => {
    call(1);
    drain();
    announce(2000);
    lose();
    let isFirst = true;
    const lost = (): void => {
      if (!isFirst) return;
      isFirst = false;
      twin.queue.drops++;
      announce(2001);
      lose();
    };
    const repaired = runSliced('repair', lost);
    expect(repaired.isProvable).toBe(true);
    expect(own()).toBe(2);
    isFirst = true;
    expect(runSliced('judge', lost).isProvable).toBe(false);
  });

  it('an expectation that expired is gone', () => {
    call(1);
    announce(2000);
    drain();
    now += 181_000;
    drain();
    expect(own()).toBe(0);
  });
});
