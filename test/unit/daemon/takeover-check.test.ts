import { afterEach, beforeEach, expect, test } from 'vitest';
import { TakeoverCheck } from '../../../src/daemon/takeover-check.js';
import { EOPNOTSUPP } from '../../../src/failover/errno.js';
import { type Flow, flowFromRecord, recordFromFlow } from '../../../src/flow/flow.js';
import { type KernelBatch, type KernelPort, OP_CREATE, OP_DELETE } from '../../../src/flow/kernel-port.js';
import { allocateMemory, copyRecord, MAX_RECORD_BYTES } from '../../../src/flow/record.js';
import type { RulesetFacts, RulesetReader } from '../../../src/kernel/ruleset.js';
import { FlowTable } from '../../../src/table/flow-table.js';
import { OWNER_SELF } from '../../../src/table/slot-bits.js';

/** A kernel that knows one helper, and keeps labels if it is told so. */
class Kernel {
  readonly said: string[] = [];
  keepsLabels = true;
  #flow: Flow | undefined;

  execute(batch: KernelBatch): void {
    const flow = flowFromRecord(batch.memory, batch.at[0]);
    batch.errno[0] = 0;
    if (batch.verb[0] === OP_CREATE) {
      this.said.push(`create ${flow.protocol} ${flow.original.source} ${flow.helper ?? ''}`.trim());
      if (flow.helper !== undefined && flow.helper !== 'ftp') batch.errno[0] = EOPNOTSUPP;
      else this.#flow = { ...flow, ...(this.keepsLabels ? {} : { labels: undefined }) } as Flow;
    } else if (batch.verb[0] === OP_DELETE) {
      this.said.push('delete');
      this.#flow = undefined;
    } else if (this.#flow !== undefined) {
      const found = allocateMemory(MAX_RECORD_BYTES);
      recordFromFlow(this.#flow, found, 0);
      copyRecord(found, 0, batch.found, 0);
      batch.foundAt[0] = 0;
    }
  }
}

const PEER = 7;
const scratch = allocateMemory(MAX_RECORD_BYTES);
let table: FlowTable;
let kernel: Kernel;
let facts: RulesetFacts;
let events: number | undefined;
let limit: number | undefined;
let check: TakeoverCheck | undefined;
beforeEach(() => {
  table = new FlowTable({ seed: new Uint32Array([1, 2, 3, 4]), maxFlows: 1000 });
  kernel = new Kernel();
  events = 1;
  limit = 1000;
  facts = {
    ipv4: { isTracked: true, isTranslated: true },
    ipv6: { isTracked: true, isTranslated: true },
    isUncertain: false,
  };
});
afterEach(() => check?.close());

function insert(flow: Partial<Flow>, owner = PEER): void {
  const original = {
    source: '10.0.0.1',
    destination: '10.0.0.2',
    sourcePort: table.count + 1,
    destinationPort: 21,
  };
  const whole: Flow = { family: 'ipv4', protocol: 'tcp', original, status: [], timeout: 100, ...flow };
  recordFromFlow(whole, scratch, 0);
  table.insert(scratch, 0, owner);
}

function problems(): Promise<readonly string[]> {
  check = new TakeoverCheck({
    table,
    kernel: kernel as unknown as KernelPort,
    events: () => events,
    limit: () => limit,
    rules: () => ({ facts, step: () => true, close: () => undefined }) as unknown as RulesetReader,
  });
  return check.check();
}

const IPV6 = {
  family: 'ipv6',
  original: { source: 'fd00::1', destination: 'fd00::2' },
  protocol: '89',
} as const;
const TRANSLATED = {
  reply: { source: '10.0.0.2', destination: '192.0.2.9', sourcePort: 21, destinationPort: 1 },
};

test('a kernel that can do all, and one of which nothing is needed, is fine', async () => {
  facts.ipv6.isTracked = false;
  facts.ipv6.isTranslated = false;
  insert({ ...TRANSLATED, labels: [3], helper: 'ftp' });
  expect(await problems()).toEqual([]);
  expect(kernel.said).toEqual(['create udp 192.0.2.1', 'delete', 'create tcp 192.0.2.1 ftp', 'delete']);
});

test('own flows need nothing: they stand in this kernel', async () => {
  Object.assign(facts.ipv4, { isTracked: false, isTranslated: false });
  insert({ ...TRANSLATED, labels: [3], helper: 'sip' }, OWNER_SELF);
  expect(await problems()).toEqual([]);
  expect(kernel.said).toEqual([]);
});

test('rules that do not track or translate a family that the replicas hold are told', async () => {
  Object.assign(facts.ipv4, { isTracked: false, isTranslated: false });
  facts.ipv6.isTracked = false;
  facts.ipv6.isTranslated = false;
  insert(TRANSLATED);
  insert(IPV6);
  expect(await problems()).toEqual([
    expect.stringMatching(/^no rule here uses ct for IPv4, .*config\/nftables\/conntwin.nft/),
    expect.stringMatching(/^no nat chain for IPv4 here/),
    expect.stringMatching(/^no rule here uses ct for IPv6/),
  ]);
});

test('where iptables-legacy may have rules that are not seen, nothing is claimed', async () => {
  Object.assign(facts.ipv4, { isTracked: false, isTranslated: false });
  facts.isUncertain = true;
  insert(TRANSLATED);
  expect(await problems()).toEqual([]);
});

test('labels that the kernel drops and helpers it does not know are told', async () => {
  kernel.keepsLabels = false;
  insert({ labels: [3] });
  insert({ helper: 'sip', protocol: 'udp' });
  insert({ helper: 'sip', protocol: 'udp' });
  expect(await problems()).toEqual([
    expect.stringMatching(/^no rule here uses ct label/),
    'this kernel does not know the helper sip: modprobe nf_conntrack_sip',
  ]);
  expect(kernel.said).toEqual(['create udp 192.0.2.1', 'delete', 'create udp 192.0.2.1 sip']);
});

test('who asks again while a check runs gets its answer, and does not put it off', async () => {
  events = 0;
  const first = problems();
  const answers = await Promise.all([first, check!.check(), check!.check()]);
  expect(answers.map(({ length }) => length)).toEqual([1, 1, 1]);
  expect(check!.runs).toBe(1);
});

test.each([0, 2])('nf_conntrack_events of %s is told', async (value) => {
  events = value;
  expect((await problems()).join()).toContain(`nf_conntrack_events is ${value}`);
});

test('a kernel that has no room for the replicas and what it has is told', async () => {
  insert({}, OWNER_SELF);
  insert({});
  insert({});
  limit = 2;
  expect(await problems()).toEqual([
    'nf_conntrack_max is 2, and a takeover is about 3 flows: raise net.netfilter.nf_conntrack_max',
  ]);
  for (limit of [3, 0, undefined]) expect(await check!.check()).toEqual([]);
});
