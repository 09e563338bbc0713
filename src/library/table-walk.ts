/** What takes long in a large table, done without holding the event loop: a dump, datagram by datagram, and a flush. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { NetNamespace } from '../../native/net-namespace.js';
import type { Counters } from '../flow/counters.js';
import { DUMP_DONE, DUMP_INTERRUPTED, DUMP_PENDING, type RowSink } from '../flow/kernel-port.js';
import type { DumpFilter, DumpList } from '../kernel/dump-request.js';
import { Dumper } from '../kernel/dumper.js';
import { TableRequests } from '../kernel/table-requests.js';
import { SLICE_BUDGET_MS } from '../limits.js';
import { ClosedError, ListInterruptedError } from './errors.js';

/** What a walk needs of its Conntrack. */
export interface WalkContext {
  readonly counters: Counters;
  /** Does `work` in the network namespace of this Conntrack. */
  readonly inNamespace: NetNamespace['run'];
  /** Has `close` called when the Conntrack is closed; returns the way to take that back. */
  readonly onClose: (close: () => void) => () => void;
}

/**
 * Dumps the list once for each filter. Yields after each datagram that the sink was handed the rows of, so what the
 * consumer keeps of them (some hundred) is all there is in memory. Throws what the signal says when it is aborted,
 * ListInterruptedError, ClosedError or SystemError.
 */
export async function* walkTable(
  context: WalkContext,
  list: DumpList,
  filters: readonly (DumpFilter | undefined)[],
  sink: RowSink,
  signal: AbortSignal | undefined,
): AsyncGenerator<void, void, void> {
  const operation = `list the conntrack table (${list})`;
  let wake = (): void => undefined;
  let isClosed = false;
  const dumper = new Dumper({
    counters: context.counters,
    isShown: true,
    isPooled: true,
    onArrival: () => wake(),
  });
  const forget = context.onClose(() => {
    isClosed = true;
    wake();
  });
  const onAbort = () => wake();
  signal?.addEventListener('abort', onAbort);
  let sliceEnd = performance.now() + SLICE_BUDGET_MS;
  try {
    for (const filter of filters) {
      context.inNamespace(() => dumper.start(list, filter));
      for (;;) {
        signal?.throwIfAborted();
        if (isClosed) throw new ClosedError(operation);
        const arrival = new Promise<void>((resolve) => {
          wake = resolve;
        });
        const state = dumper.next(sink);
        if (state === DUMP_INTERRUPTED) throw dumper.error ?? new ListInterruptedError(operation);
        if (state === DUMP_PENDING) {
          await arrival;
          sliceEnd = performance.now() + SLICE_BUDGET_MS;
          continue;
        }
        yield;
        if (state === DUMP_DONE) break;
        if (performance.now() < sliceEnd) continue;
        // Promises alone would starve timers and sockets of a program that only lists.
        await nextTurn();
        sliceEnd = performance.now() + SLICE_BUDGET_MS;
      }
    }
  } finally {
    signal?.removeEventListener('abort', onAbort);
    forget();
    dumper.close();
  }
}

/** Has a flush over a socket of its own, so that other questions need not wait for it. */
export async function flushing(
  context: WalkContext,
  flush: (requests: TableRequests) => Promise<void>,
): Promise<void> {
  const requests = context.inNamespace(() => new TableRequests());
  const forget = context.onClose(() => requests.close());
  try {
    await flush(requests);
  } finally {
    forget();
    requests.close();
  }
}
