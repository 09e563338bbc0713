/** Two tables that should have the same flows, compared; under load too: what differs at one look only is on its way. */
import { randomBytes } from 'node:crypto';
import type { ControlClient } from '../control/client.js';
import type { FlowTableName } from '../control/messages.js';
import { flowFromRecord } from '../flow/flow.js';
import { FlowDiff } from '../flow/flow-diff.js';
import type { Memory } from '../flow/record.js';
import { formatConntrack } from '../flow/text.js';
import { DIFFERENCES_NAMED_MAX } from '../limits.js';
import { eachOf } from './flow-walk.js';

/** Where one side's flows are to be had. */
export interface Side {
  readonly client: ControlClient;
  readonly table: FlowTableName;
  readonly node: string;
  readonly where?: string;
}

export interface Difference {
  /** missing: the second table lacks it; extra: the first does; changed: their fields differ. */
  readonly kind: 'missing' | 'extra' | 'changed';
  readonly flow: string;
}

export interface Comparison {
  readonly what: string;
  verdict: 'equal' | 'different' | 'not provable';
  /** Of the first table; -1: they were not counted. */
  flows: number;
  differences: Difference[];
  /** More than are named. */
  more: number;
  detail: string;
}

/** Time between two looks: a flow's way from one node to the other takes some milliseconds. Milliseconds. */
const SECOND_LOOK_MS = 1000;

interface Look {
  readonly flows: number;
  readonly found: Map<string, Difference>;
  more: number;
}

async function flowsOf(side: Side, take: (m: Memory, at: number) => void): Promise<void> {
  const { client, table, node, where } = side;
  const about = { owner: 0, node: '', now: 0 };
  await client.flows({ table, node, filter: {}, ...(where === undefined ? {} : { where }) }, (batch) =>
    eachOf(batch, about, take),
  );
}

async function look(first: Side, second: Side): Promise<Look> {
  const diff = new FlowDiff(new Uint32Array(Uint8Array.from(randomBytes(16)).buffer));
  const found = new Map<string, Difference>();
  let more = 0;
  const note = (kind: Difference['kind']) => (m: Memory, at: number) => {
    if (found.size >= DIFFERENCES_NAMED_MAX) {
      more++;
      return;
    }
    const flow = flowFromRecord(m, at);
    const { protocol, family, zone, original } = flow;
    found.set(`${kind} ${JSON.stringify([family, protocol, zone, original])}`, {
      kind,
      flow: formatConntrack(flow),
    });
  };
  const [missing, extra, changed] = [note('missing'), note('extra'), note('changed')];
  await flowsOf(first, (m, at) => diff.keep(m, at));
  await flowsOf(second, (m, at) => {
    const verdict = diff.meet(m, at);
    if (verdict === 'unknown') extra(m, at);
    else if (verdict === 'changed') changed(m, at);
  });
  diff.unmet(missing);
  return { flows: diff.count, found, more };
}

/** Compares, and looks again at what differs. */
export async function compareSides(what: string, first: Side, second: Side): Promise<Comparison> {
  const before = await look(first, second);
  const comparison: Comparison = {
    what,
    verdict: 'equal',
    flows: before.flows,
    differences: [],
    more: 0,
    detail: '',
  };
  if (before.found.size === 0) return comparison;
  await new Promise((resolve) => setTimeout(resolve, SECOND_LOOK_MS));
  const after = await look(first, second);
  comparison.flows = after.flows;
  comparison.differences = [...after.found]
    .filter(([key]) => before.found.has(key))
    .map(([, value]) => value);
  comparison.more = Math.min(before.more, after.more);
  if (comparison.differences.length + comparison.more > 0) comparison.verdict = 'different';
  return comparison;
}
