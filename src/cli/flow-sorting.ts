/** --sort, --reverse and --top. */
import { ControlError } from '../control/backend.js';
import type { FlowTableName } from '../control/messages.js';
import { FlowOrder } from '../flow/flow-order.js';
import { FlowSorter } from '../flow/flow-sorter.js';

interface SortOptions {
  readonly table: FlowTableName;
  readonly sort?: string;
  readonly reverse?: boolean;
  readonly top?: number;
}

/** Undefined if nothing is to be sorted. Throws ControlError (`invalid`) for a field by which nothing is. */
export function sorterOf(options: SortOptions): (FlowSorter & { readonly field: string }) | undefined {
  const { table, sort, reverse = false, top } = options;
  if (sort === undefined && top === undefined) {
    if (reverse) throw new ControlError('invalid', '--reverse turns an order round: add --sort FIELD');
    return undefined;
  }
  let order: FlowOrder;
  try {
    order = new FlowOrder(sort ?? 'bytes', reverse);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new ControlError('invalid', `--sort: ${cause.message}`, { cause });
  }
  if (table !== 'kernel' && order.isShown) {
    const problem = `--sort: only the kernel's table has ${order.field}`;
    throw new ControlError('invalid', `${problem}: sort by another field, such as timeout or src`);
  }
  return Object.assign(new FlowSorter(order, top ?? Number.POSITIVE_INFINITY), { field: order.field });
}
