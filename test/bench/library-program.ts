/**
 * The library at work, as a program that runs in a namespace of the lab; one JSON line (`LibraryReport`):
 *   library-program.js list|count|delete [FILTER AS JSON]
 *   library-program.js events            until SIGTERM
 */
import { Conntrack, type FlowFilter } from '../../src/library/index.js';

export interface LibraryReport {
  readonly flows: number;
  readonly lost: number;
  /** Without the start of Node. */
  readonly ms: number;
  readonly peakBytes: number;
}

async function work(
  ct: Conntrack,
  verb: string,
  filter: FlowFilter,
): Promise<{ flows: number; lost: number }> {
  let flows = 0;
  let lost = 0;
  if (verb === 'list') {
    let sum = 0;
    for await (const flow of ct.list(filter)) {
      flows++;
      sum += flow.original.sourcePort ?? 0;
    }
    if (Number.isNaN(sum)) throw new Error('a flow without a port');
  } else if (verb === 'count') flows = await ct.count({ protocol: 'tcp', ...filter });
  else if (verb === 'delete') flows = (await ct.delete(filter)).deleted;
  else {
    const events = ct.events(filter);
    process.once('SIGTERM', () => events.close());
    process.stdout.write('listening\n');
    for await (const event of events) {
      if (event.type === 'overrun') lost += event.lost;
      else if (event.type === 'new') flows++;
    }
  }
  return { flows, lost };
}

const [verb, filter = '{}'] = process.argv.slice(2);
const ct = await Conntrack.open();
const start = performance.now();
const done = await work(ct, verb, JSON.parse(filter) as FlowFilter);
const ms = performance.now() - start;
const report: LibraryReport = { ...done, ms, peakBytes: process.resourceUsage().maxRSS * 1024 };
process.stdout.write(`${JSON.stringify(report)}\n`);
ct.close();
