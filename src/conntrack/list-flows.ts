/** -L, -D and -U: what walks through a list of the kernel's flows. */
import { ENOENT, EPERM } from '../../native/libc.js';
import { errnoName } from '../../native/system-error.js';
import { AF_INET6, IPS_FIXED_TIMEOUT } from '../flow/conntrack-enums.js';
import { DUMP_DONE, DUMP_INTERRUPTED, KernelBatch, OP_DELETE, OP_GET } from '../flow/kernel-port.js';
import type { Memory } from '../flow/record.js';
import { usesPorts } from '../flow/tuple.js';
import type { DumpFilter, DumpList, DumpTuple } from '../kernel/dump-request.js';
import { Dumper } from '../kernel/dumper.js';
import { CTA_PROTOINFO, CTA_TIMEOUT } from '../kernel/enums.js';
import { EXIT_OK, EXIT_OTHER, OperationError } from './errors.js';
import { FlowChange } from './flow-change.js';
import { FlowMatch, statusOf } from './flow-match.js';
import { requestChange } from './flow-protoinfo.js';
import { Printer } from './printer.js';
import type { Run } from './run.js';
import type { Settings, TupleSettings } from './settings.js';

/** Requests of one batch: what the kernel takes in one datagram. */
const BATCH = 128;

/** The part of a tuple that the kernel can judge: whole IPv4 addresses; ports where the protocol has them. */
function dumpTuple(tuple: TupleSettings, masks: TupleSettings, settings: Settings): DumpTuple | undefined {
  const { protocol, family } = settings;
  const whole = (bytes: Uint8Array | undefined, mask: Uint8Array | undefined) =>
    bytes !== undefined && mask === undefined && family !== AF_INET6 ? bytes : undefined;
  const source = whole(tuple.source, masks.source);
  const destination = whole(tuple.destination, masks.destination);
  const hasPorts = protocol !== undefined && usesPorts(protocol);
  const result: DumpTuple = {
    ...(source === undefined ? {} : { source }),
    ...(destination === undefined ? {} : { destination }),
    ...(protocol === undefined ? {} : { protocol }),
    ...(hasPorts && tuple.first !== undefined ? { sourcePort: tuple.first } : {}),
    ...(hasPorts && tuple.second !== undefined ? { destinationPort: tuple.second } : {}),
  };
  return Object.keys(result).length > 0 ? result : undefined;
}

/** What the kernel is asked to leave out; every row is looked at again. */
function dumpFilter(settings: Settings): DumpFilter {
  const { family, mark, letter, zone } = settings;
  const isCondition = letter !== 'U';
  const original = family === undefined ? undefined : dumpTuple(settings.original, settings.mask, settings);
  const reply = family === undefined ? undefined : dumpTuple(settings.reply, {}, settings);
  return {
    ...(family === undefined ? {} : { family }),
    ...(mark !== undefined && isCondition && (mark.value & ~mark.mask) === 0 ? { mark } : {}),
    ...(zone === undefined || zone === 0 ? {} : { zone }),
    ...(original === undefined ? {} : { original }),
    ...(reply === undefined ? {} : { reply }),
  };
}

const listOf = (settings: Settings): DumpList => {
  if (settings.table === 'dying' || settings.table === 'unconfirmed') return settings.table;
  return settings.isZeroing ? 'zeroing' : 'table';
};

/** Hands every flow that is asked for to `take`; `between` is called after each datagram. */
function walk(
  run: Run,
  settings: Settings,
  take: (m: Memory, at: number) => void,
  between: () => void,
): void {
  const match = new FlowMatch(settings);
  const dumper = new Dumper({ counters: run.counters, isShown: true });
  const isOpen = match.isOpen;
  const sink = (m: Memory, at: number): void => {
    if (isOpen || match.matches(m, at)) take(m, at);
  };
  try {
    dumper.start(listOf(settings), dumpFilter(settings));
    for (;;) {
      between();
      const state = dumper.next(sink);
      if (state === DUMP_DONE) return;
      if (state !== DUMP_INTERRUPTED) continue;
      if (dumper.error !== undefined) throw dumper.error;
      run.say('the table changed while it was read: flows may be missing, or told twice; run it again');
      return;
    }
  } finally {
    dumper.close();
  }
}

/** -L. */
export function listFlows(run: Run, settings: Settings): number {
  const printer = new Printer(run, settings);
  walk(
    run,
    settings,
    (m, at) => printer.flow(m, at),
    () => printer.tick(),
  );
  printer.end();
  run.summary(printer.count, 'flow entries', 'shown');
  return EXIT_OK;
}

/** -D: deletes in batches while the dump goes on, each flow by its tuple and id, so that no later flow is hit. */
export function deleteFlows(run: Run, settings: Settings): number {
  const printer = new Printer(run, settings);
  const batch = new KernelBatch(BATCH);
  const work = (): void => {
    run.injector.execute(batch);
    for (let i = 0; i < batch.count; i++) {
      const errno = batch.errno[i];
      if (errno === 0) printer.flow(batch.memory, batch.at[i]);
      // Gone by itself meanwhile.
      else if (errno !== ENOENT) throw refused('delete a flow', errno);
    }
    batch.clear();
  };
  const take = (m: Memory, at: number): void => {
    if (batch.isFull) work();
    batch.add(OP_DELETE, 0, m, at);
  };
  walk(run, settings, take, () => printer.tick());
  work();
  printer.end();
  run.summary(printer.count, 'flow entries', 'deleted');
  return printer.count > 0 || run.isQuiet ? EXIT_OK : EXIT_OTHER;
}

/** -U: changes what is not as wanted yet, then shows each changed flow as the kernel has it now. */
export function updateFlows(run: Run, settings: Settings): number {
  const printer = new Printer(run, settings);
  const change = new FlowChange(settings);
  const batch = new KernelBatch(BATCH);
  let failed = 0;
  const show = (): void => {
    run.injector.execute(batch);
    for (let i = 0; i < batch.count; i++) {
      if (batch.foundAt[i] >= 0) printer.flow(batch.found, batch.foundAt[i]);
    }
    batch.clear();
  };
  const take = (m: Memory, at: number): void => {
    const attributes = change.prepare(m, at);
    if (attributes === 0 && !change.isRestated) return;
    // Such a flow's timeout cannot be changed, and the kernel would change the rest and then refuse.
    const isFixed = (attributes & (1 << CTA_TIMEOUT)) !== 0 && (statusOf(m, at) & IPS_FIXED_TIMEOUT) !== 0;
    const errno = isFixed ? EPERM : attributes === 0 ? 0 : send(run, change, attributes);
    if (errno === ENOENT) return;
    if (errno !== 0) {
      failed++;
      run.say(
        isFixed
          ? 'a flow with a FIXED_TIMEOUT keeps it: leave -t out'
          : refused('update a flow', errno).message,
      );
      return;
    }
    if (batch.isFull) show();
    batch.add(OP_GET, 0, m, at);
  };
  walk(run, settings, take, () => printer.tick());
  show();
  printer.end();
  run.summary(printer.count, 'flow entries', 'updated');
  return failed === 0 && (printer.count > 0 || run.isQuiet) ? EXIT_OK : EXIT_OTHER;
}

function send(run: Run, change: FlowChange, attributes: number): number {
  const { m, protoinfo } = change;
  if ((attributes & (1 << CTA_PROTOINFO)) === 0) return run.injector.change(m, 0, attributes);
  return requestChange(run.requester, m, attributes, protoinfo);
}

/** The error of a request that the kernel refused. */
export function refused(operation: string, errno: number): OperationError {
  const advice = errno === EPERM ? ': run as root, or give the process CAP_NET_ADMIN' : '';
  return new OperationError(`the kernel refused to ${operation} (${errnoName(errno)})${advice}`);
}
