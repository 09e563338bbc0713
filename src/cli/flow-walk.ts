/** Flows of a table, one after the other: by the daemon, which knows whose they are, or straight from the kernel. */
import { ControlError } from '../control/backend.js';
import type { FlowBatch } from '../control/messages.js';
import { CounterMap } from '../flow/counters.js';
import { FlowFilter } from '../flow/filter.js';
import type { FlowTaker } from '../flow/flow-sorter.js';
import { nodeOfMark, ownerOfMark } from '../flow/owner-mark.js';
import { allocateMemory, lengthOf, type Memory } from '../flow/record.js';
import type { About } from '../flow/where/fields.js';
import { withHints } from '../flow/where/where.js';
import { dumpsOf } from '../kernel/flow-dumps.js';
import { walkTable } from '../library/table-walk.js';
import type { CommandContext } from './context.js';
import type { FlowQuery } from './flow-query.js';

export interface Walk {
  /** Takes each flow that is meant. */
  readonly take: FlowTaker;
  /** Called between some hundred flows: here output waits for its reader. */
  readonly between: () => Promise<void>;
}

/**
 * Walks through the daemon's answer; without a daemon through the kernel's own table, if that is the one. Resolves with
 * true where it is known whose the flows are. Throws ControlError or SystemError.
 */
export async function walkFlows(context: CommandContext, query: FlowQuery, walk: Walk): Promise<boolean> {
  const needsDaemon = query.table !== 'kernel' || query.where?.needsOwner === true;
  const isServed = await context.withDaemonIfAny(needsDaemon, (client) => {
    const { table, node, filter, where } = query;
    const about: About = { owner: 0, node: '', now: 0 };
    return client.flows({ table, node, filter, ...(where && { where: where.text }) }, (batch) => {
      about.now = Date.now() / 1000;
      eachOf(batch, about, walk.take);
      return walk.between();
    });
  });
  if (!isServed) await walkKernel(query, walk);
  return isServed;
}

/** Straight from the kernel. */
export async function walkKernel({ filter, where }: FlowQuery, walk: Walk): Promise<void> {
  const compiled = new FlowFilter(filter);
  const about: About = { owner: 0, node: '', now: Date.now() / 1000 };
  const sink = (m: Memory, at: number): void => {
    if (compiled.matches(m, at) && (where === undefined || where.matches(m, at, about)))
      walk.take(m, at, about);
  };
  const context = {
    counters: new CounterMap(),
    inNamespace: <T>(work: () => T) => work(),
    onClose: () => () => undefined,
  };
  for await (const _ of walkTable(context, 'table', dumpsOf(withHints(filter, where)), sink, undefined)) {
    about.now = Date.now() / 1000;
    await walk.between();
  }
}

/** Throws ControlError if the records do not fill the batch exactly: another version's daemon. */
export function eachOf({ records, owners, nodes }: FlowBatch, about: About, take: FlowTaker): void {
  // A copy, since what arrived need not stand at a multiple of 4.
  const memory = allocateMemory(records.length);
  memory.u8.set(records);
  for (let at = 0, i = 0; at < records.length; i++) {
    const length = at + 4 <= records.length ? lengthOf(memory, at) : 0;
    if (length < 4 || length % 4 !== 0 || at + length > records.length) {
      throw new ControlError(
        'failed',
        'the daemon speaks another record layout: use the same version of conntwin',
      );
    }
    const mark = owners[i] ?? 0;
    about.owner = ownerOfMark(mark);
    about.node = nodeOfMark(mark, nodes);
    take(memory, at, about);
    at += length;
  }
}
