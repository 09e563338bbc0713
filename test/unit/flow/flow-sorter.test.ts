import { expect, it } from 'vitest';
import { recordFromFlow } from '../../../src/flow/flow.js';
import { FlowOrder } from '../../../src/flow/flow-order.js';
import { FlowSorter } from '../../../src/flow/flow-sorter.js';
import { allocateMemory, MAX_RECORD_BYTES, OFF_ID } from '../../../src/flow/record.js';

const COUNT = 5000;
const ABOUT = { owner: 1, node: '', now: 0 };

/** Flows whose timeouts and sources follow no order; some have no timeout. The id is the number. */
function flows() {
  return Array.from({ length: COUNT }, (_, id) => {
    const n = (id * 7919) % 1009;
    const m = allocateMemory(MAX_RECORD_BYTES);
    const source = `10.${n % 200}.${n >> 8}.${n % 251}`;
    const original = { source, destination: '10.2.0.1', sourcePort: n, destinationPort: 80 };
    const timeout = n % 10 === 0 ? {} : { timeout: n };
    recordFromFlow({ family: 'ipv4', protocol: 'tcp', original, status: [], id, ...timeout }, m, 0);
    return { m, id, timeout: timeout.timeout ?? -1, source };
  });
}

async function sorted(field: string, isReversed: boolean, limit: number): Promise<number[]> {
  const sorter = new FlowSorter(new FlowOrder(field, isReversed), limit);
  for (const { m } of flows()) sorter.take(m, 0, ABOUT);
  const ids: number[] = [];
  let handedOver = 0;
  const between = async (): Promise<void> => {
    handedOver = ids.length;
  };
  await sorter.each(
    (m, at) => {
      ids.push(m.u32[(at + OFF_ID) >>> 2]);
      // No more of what is made of them waits in memory than this.
      expect(ids.length - handedOver).toBeLessThanOrEqual(500);
    },
    between,
    0,
  );
  return ids;
}

const LIMITS = [1, 2, 100, 4999, 5000, 9000];

it('all flows are in order, the largest first, those without the field last, equals as they came', async () => {
  const wanted = flows().sort((a, b) => b.timeout - a.timeout || a.id - b.id);
  expect(await sorted('timeout', false, Number.POSITIVE_INFINITY)).toEqual(wanted.map(({ id }) => id));
});

it.each(LIMITS)('the first %i of an order are the same as of the whole', async (limit) => {
  for (const field of ['timeout', 'src', 'sport', 'mark']) {
    for (const isReversed of [false, true]) {
      const whole = await sorted(field, isReversed, Number.POSITIVE_INFINITY);
      expect(whole).toHaveLength(COUNT);
      expect(await sorted(field, isReversed, limit)).toEqual(whole.slice(0, limit));
    }
  }
});

it('addresses are in the order of their numbers', async () => {
  const number = (source: string) => source.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  const wanted = flows().sort((a, b) => number(a.source) - number(b.source) || a.id - b.id);
  expect(await sorted('orig.src', false, 50)).toEqual(wanted.slice(0, 50).map(({ id }) => id));
});

it.each(['address', 'port', 'state', 'nothing', 'helper'])('nothing is sorted by %s', (field) => {
  expect(() => new FlowOrder(field, false)).toThrow(`"${field}" is no field to sort by`);
});
