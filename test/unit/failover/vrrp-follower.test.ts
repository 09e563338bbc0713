import { beforeEach, describe, expect, test } from 'vitest';
import type { Role } from '../../../src/failover/ports.js';
import { VrrpFollower } from '../../../src/failover/vrrp-follower.js';
import { parseVrrpLine } from '../../../src/failover/vrrp-lines.js';
import { CounterMap } from '../../../src/flow/counters.js';

/** A node whose role changes end when the test says so. */
class Node {
  role: Role = 'backup';
  readonly asked: Role[] = [];
  readonly counters = new CounterMap();
  readonly lines: string[] = [];
  readonly timers: { ms: number; call: () => void }[] = [];
  readonly follower: VrrpFollower;
  readonly #ends: { end: () => void; stop: () => void; fail: () => void }[] = [];

  constructor(name?: string) {
    this.follower = new VrrpFollower(
      {
        role: () => this.role,
        change: (role) => {
          this.asked.push(role);
          return new Promise<void>((resolve, reject) => {
            const end = () => {
              this.role = role;
              resolve();
            };
            this.#ends.push({ end, stop: () => resolve(), fail: () => reject(new Error('busy')) });
          });
        },
        later: (ms, call) => this.timers.push({ ms, call }),
        failed: (role) => this.lines.push(`failed ${role}`),
        counters: this.counters,
        log: (level, message) => this.lines.push(`${level} ${message}`),
      },
      name,
    );
  }

  /** All in one reading. */
  hear(...lines: string[]): void {
    this.push(lines.map((line) => `${line}\n`).join(''));
    this.follower.turn();
  }

  push(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.follower.push(bytes, bytes.length);
  }

  /** The oldest change that runs was stopped by somebody: its role was not taken. */
  async stop(): Promise<void> {
    this.#ends.shift()?.stop();
    await settled();
  }

  /** The oldest change that runs has ended. */
  async end(): Promise<void> {
    this.#ends.shift()?.end();
    await settled();
  }

  async fail(): Promise<void> {
    this.#ends.shift()?.fail();
    await settled();
  }

  runTimers(): void {
    for (const { call } of this.timers.splice(0)) call();
  }
}

const settled = () => new Promise((resolve) => setImmediate(resolve));
const group = (state: string) => `GROUP "edge" ${state} 0`;
const instance = (name: string, state: string) => `INSTANCE "${name}" ${state} 150`;

let node: Node;
beforeEach(() => {
  node = new Node('edge');
});

describe('a line of keepalived', () => {
  test('has kind, name and state, as keepalived 2.2.7 writes it', () => {
    expect(parseVrrpLine('GROUP "edge" BACKUP 0')).toEqual({ kind: 'GROUP', name: 'edge', state: 'BACKUP' });
    const line = 'INSTANCE "in side 1" MASTER 150';
    expect(parseVrrpLine(line)).toEqual({ kind: 'INSTANCE', name: 'in side 1', state: 'MASTER' });
  });

  test.each([
    'INSTANCE "inside" MASTER_PRIORITY 90',
    'INSTANCE "inside" BACKUP_PRIORITY 150',
    'INSTANCE "inside" MASTER_RX_LOWER_PRI 150',
    'VS [192.168.201.15]:tcp:80 UP',
  ])('of another kind says nothing: %s', (text) => expect(parseVrrpLine(text)).toBe('other'));

  test.each([
    '',
    'MASTER',
    'GROUP edge MASTER 0',
    'GROUP "edge" MASTER',
    'GROUP "edge" master 0',
    'GROUP "edge" toString 0',
    'GROUP "edge" CONSTRUCTOR 0',
    'GROUP "" MASTER 0',
    'GROUP "edge" MASTER 0 ',
    'GROUP "edge" MASTER 0\0',
    'XGROUP "edge" MASTER 0',
  ])('that is garbled is none: %j', (text) => expect(parseVrrpLine(text)).toBeUndefined());
});

describe('states become roles', () => {
  test.each([
    ['MASTER', 'primary', 'backup'],
    ['BACKUP', 'backup', 'primary'],
    ['FAULT', 'fault', 'primary'],
    ['STOP', 'backup', 'primary'],
    ['DELETED', 'backup', 'primary'],
  ] as const)('%s asks for %s', (state, role, before) => {
    node.role = before;
    node.hear(group(state));
    expect(node.asked).toEqual([role]);
  });

  test('a state that the node has already changes nothing', () => {
    node.hear(group('BACKUP'));
    expect(node.asked).toEqual([]);
    expect(node.follower.state).toBe('BACKUP');
  });

  test('of a thousand lines read at once only the last state counts', () => {
    const lines = Array.from({ length: 1000 }, (_, i) => group(i % 2 === 0 ? 'BACKUP' : 'MASTER'));
    node.hear(...lines);
    expect(node.asked).toEqual(['primary']);
    expect(node.follower.changes).toBe(1);
  });

  test('half lines are put together, and garbled ones are counted and skipped', () => {
    node.push('garbage\nGROUP "ed');
    node.follower.turn();
    node.push('ge" MASTER 0\nGROUP');
    node.follower.turn();
    expect(node.asked).toEqual(['primary']);
    expect(node.counters.get('vrrp.garbled')).toBe(1);
  });

  test('a line without end takes bounded memory and is skipped; the next one counts', () => {
    for (let i = 0; i < 1000; i++) node.push('x'.repeat(1000));
    node.push(`\n${group('MASTER')}\n`);
    node.follower.turn();
    expect(node.asked).toEqual(['primary']);
    expect(node.counters.get('vrrp.too-long')).toBe(1);
  });

  test('half a line of the FIFO before is not put before the first one of the next', () => {
    node.push('GROUP "edge" BAC');
    node.follower.restart();
    node.hear(group('MASTER'));
    expect(node.asked).toEqual(['primary']);
  });
});

describe('which lines count', () => {
  beforeEach(() => {
    node = new Node();
  });

  test("with a group its instances' lines do not, as when keepalived becomes MASTER", () => {
    node.hear(instance('outside', 'MASTER'), instance('inside', 'MASTER'), group('MASTER'));
    node.runTimers();
    expect(node.asked).toEqual(['primary']);
    expect(node.follower.followed).toBe('edge');
  });

  test('nor when one instance was read a moment before its group', () => {
    node.hear(instance('outside', 'MASTER'));
    expect(node.asked).toEqual([]);
    node.hear(instance('inside', 'BACKUP'), group('BACKUP'));
    node.runTimers();
    expect(node.asked).toEqual([]);
  });

  test('an instance that stays alone is followed after a moment, and from then on at once', () => {
    node.hear(instance('inside', 'MASTER'));
    expect(node.asked).toEqual([]);
    node.runTimers();
    expect(node.asked).toEqual(['primary']);
    node.role = 'primary';
    node.hear(instance('inside', 'FAULT'));
    expect(node.asked).toEqual(['primary', 'fault']);
  });

  test('of two instances without a group none is followed, and the problem says what to write', () => {
    node.hear(instance('inside', 'MASTER'));
    node.hear(instance('outside', 'BACKUP'));
    node.runTimers();
    expect(node.asked).toEqual([]);
    expect(node.follower.problem).toContain('instances inside, outside');
    expect(node.follower.problem).toContain('failover.vrrp_name');
  });

  test('the only group is followed after a moment, with what it said last, and from then on at once', () => {
    node.hear(group('BACKUP'), group('MASTER'));
    expect(node.asked).toEqual([]);
    node.runTimers();
    expect(node.asked).toEqual(['primary']);
    node.role = 'primary';
    node.hear(group('BACKUP'));
    expect(node.asked).toEqual(['primary', 'backup']);
  });

  test.each([1, 2])('of two groups none is followed, read in %s readings', (readings) => {
    const lines = [group('MASTER'), 'GROUP "other" MASTER 0'];
    if (readings === 1) node.hear(...lines);
    else for (const line of lines) node.hear(line);
    node.runTimers();
    expect(node.asked).toEqual([]);
    expect(node.follower.problem).toContain('groups edge, other');
  });

  test('a second group that shows up ends the following, also in the middle of a reading', () => {
    node.hear(group('MASTER'));
    node.runTimers();
    node.hear(group('BACKUP'), 'GROUP "other" MASTER 0');
    expect(node.asked).toEqual(['primary']);
    expect(node.follower.problem).toContain('groups edge, other');
  });

  test('with a name only its lines count, at once, and a name never heard is told', () => {
    node = new Node('inside');
    node.hear(instance('outside', 'MASTER'), group('MASTER'));
    expect(node.asked).toEqual([]);
    expect(node.follower.problem).toContain('never of inside');
    node.hear(instance('inside', 'MASTER'), instance('outside', 'FAULT'));
    expect(node.asked).toEqual(['primary']);
    expect(node.follower.problem).toBeUndefined();
  });

  test('names without end are not remembered without end', () => {
    for (let i = 0; i < 1000; i++) node.hear(instance(`i${i}`, 'MASTER'));
    expect(node.asked).toEqual([]);
    expect(node.follower.problem!.length).toBeLessThan(300);
  });
});

describe('while a change runs', () => {
  test('a promote is told at once to step back, and what was wanted last is what becomes', async () => {
    node.hear(group('MASTER'));
    node.hear(group('BACKUP'));
    expect(node.asked).toEqual(['primary', 'backup']);
    node.hear(group('MASTER'));
    await node.end(); // the promote, stopped
    expect(node.asked).toEqual(['primary', 'backup']);
    await node.end(); // the step back
    expect(node.asked).toEqual(['primary', 'backup', 'primary']);
    await node.end();
    expect(node.role).toBe('primary');
  });

  test('the same wish again asks nothing again', async () => {
    node.hear(group('MASTER'));
    node.hear(group('MASTER'));
    await node.end();
    node.hear(group('MASTER'));
    expect(node.asked).toEqual(['primary']);
  });

  test('ten changes end in the last one', async () => {
    for (let i = 0; i < 10; i++) node.hear(group(i % 2 === 0 ? 'MASTER' : 'BACKUP'));
    node.hear(group('MASTER'));
    for (let i = 0; i < 10; i++) await node.end();
    expect(node.role).toBe('primary');
    expect(node.asked.length).toBeLessThanOrEqual(4);
  });

  test('what fails is tried again, as long as it is wanted', async () => {
    node.hear(group('MASTER'));
    await node.fail();
    expect(node.lines).toContain('failed primary');
    node.runTimers();
    expect(node.asked).toEqual(['primary', 'primary']);
    await node.fail();
    node.hear(group('BACKUP'));
    node.role = 'backup';
    await node.end();
    node.runTimers();
    expect(node.asked.at(-1)).toBe('backup');
  });

  test('the end of a promote that was told to step back starts nothing: the step back runs already', async () => {
    node.hear(group('MASTER'));
    node.hear(group('BACKUP'));
    await node.end();
    expect(node.asked).toEqual(['primary', 'backup']);
    await node.end();
    expect(node.role).toBe('backup');
  });

  test('who stops a promote by hand is not overruled', async () => {
    node.hear(group('MASTER'));
    await node.stop();
    expect(node.asked).toEqual(['primary']);
  });

  test('who changes the role by hand afterwards is not overruled until the next line', async () => {
    node.hear(group('MASTER'));
    await node.end();
    node.role = 'backup';
    await settled();
    expect(node.asked).toEqual(['primary']);
  });
});
