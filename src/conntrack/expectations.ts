/** -L, -G, -D, -I and -E of the table of expectations. */
import { EEXIST, ENOENT } from '../../native/libc.js';
import { formatAddress } from '../flow/address.js';
import { AF_INET6 } from '../flow/conntrack-enums.js';
import { EXP_OFF_FAMILY } from '../flow/expectation.js';
import { type Expectation, recordFromExpectation } from '../flow/expectation-text.js';
import type { Tuple } from '../flow/flow.js';
import { protocolName } from '../flow/flow.js';
import { DUMP_DONE, DUMP_INTERRUPTED } from '../flow/kernel-port.js';
import type { Memory } from '../flow/record.js';
import { usesPorts } from '../flow/tuple.js';
import * as E from '../kernel/enums.js';
import { ExpectationDumper } from '../kernel/expectation-dumper.js';
import { EXIT_OK, EXIT_OTHER, OperationError, ParameterError } from './errors.js';
import { ExpectationPrinter } from './expectation-printer.js';
import { refused } from './list-flows.js';
import type { Run } from './run.js';
import type { Settings, TupleSettings } from './settings.js';
import { expectedTuple, familyOf, type WholeTuple, writeTuple } from './tuple-attributes.js';

const EOPNOTSUPP = 95; // asm-generic/errno.h

function walk(run: Run, take: (m: Memory, at: number) => void): void {
  const dumper = new ExpectationDumper(run.counters);
  try {
    dumper.start();
    for (;;) {
      const state = dumper.next(take);
      if (state === DUMP_DONE) return;
      if (state === DUMP_INTERRUPTED) {
        throw new OperationError('the expectations could not be read wholly: run it again, as root');
      }
    }
  } finally {
    dumper.close();
  }
}

/** -L expect. */
export function listExpectations(run: Run, settings: Settings): number {
  const printer = new ExpectationPrinter(run, settings.output);
  walk(run, (m, at) => {
    if (settings.family !== undefined && m.u8[at + EXP_OFF_FAMILY] !== settings.family) return;
    printer.show(m, at);
  });
  printer.end();
  run.summary(printer.count, 'expectations', 'shown');
  return EXIT_OK;
}

/** How many there are. */
export function countExpectations(run: Run): number {
  let count = 0;
  walk(run, () => count++);
  return count;
}

/** The expected tuple that -s, -d, -p and the ports name. */
function namedTuple({ original, protocol }: Settings): WholeTuple {
  const tuple = expectedTuple(original, protocol ?? 0);
  if (tuple === undefined) throw new ParameterError('--src: give --src and --dst of what is expected');
  return tuple;
}

/** -G expect. */
export function getExpectation(run: Run, settings: Settings): number {
  const { requester } = run;
  const tuple = namedTuple(settings);
  const printer = new ExpectationPrinter(run, settings.output);
  requester.beginExpectation(E.IPCTNL_MSG_EXP_GET, 0, familyOf(tuple));
  writeTuple(requester.request, E.CTA_EXPECT_TUPLE, tuple);
  const errno = requester.send((m) => printer.show(m, 0));
  if (errno === ENOENT) throw noExpectation();
  if (errno !== 0) throw refused('get the expectation', errno);
  return printer.count > 0 ? EXIT_OK : EXIT_OTHER;
}

/** -D expect. */
export function deleteExpectation(run: Run, settings: Settings): number {
  const { requester } = run;
  const tuple = namedTuple(settings);
  requester.beginExpectation(E.IPCTNL_MSG_EXP_DELETE, 0, familyOf(tuple));
  writeTuple(requester.request, E.CTA_EXPECT_TUPLE, tuple);
  const errno = requester.send();
  if (errno === ENOENT) throw noExpectation();
  if (errno !== 0) throw refused('delete the expectation', errno);
  return EXIT_OK;
}

const noExpectation = (): OperationError =>
  new OperationError('there is no such expectation: conntrack -L expect lists what there is');

/** The words of a tuple, numbers that were not given as 0. */
function words(given: TupleSettings, protocol: number, option: string): Tuple {
  const tuple = expectedTuple(given, protocol);
  if (tuple === undefined)
    throw new ParameterError(`--${option}-src: give --${option}-src and --${option}-dst`);
  const bytes = tuple.source.length;
  return {
    source: formatAddress(tuple.source, 0, bytes),
    destination: formatAddress(tuple.destination, 0, bytes),
    ...(usesPorts(protocol) ? { sourcePort: given.first ?? 0, destinationPort: given.second ?? 0 } : {}),
  };
}

/** -I expect: of a flow that the kernel has and that has a helper. */
export function createExpectation(run: Run, settings: Settings): number {
  const { family, timeout = 0 } = settings;
  const number = settings.protocol ?? 0;
  const protocol = protocolName(number);
  const expectation: Expectation = {
    family: family === AF_INET6 ? 'ipv6' : 'ipv4',
    protocol,
    tuple: words(settings.expected, number, 'tuple'),
    mask: words(settings.mask, number, 'mask'),
    master: { ...words(settings.original, number, 'orig'), protocol },
    class: 0,
    flags: 0,
    timeout: Math.min(Math.max(timeout, 1), 0xffff),
  };
  const m = recordFromExpectation(expectation);
  const errno = run.injector.expectation('create', m, 0);
  if (errno === EEXIST) throw new OperationError('such an expectation is there already');
  if (errno === ENOENT)
    throw new OperationError('the kernel has no such flow: --src, --dst and the ports name it');
  if (errno === EOPNOTSUPP) {
    throw new OperationError(
      'the flow has no helper (EOPNOTSUPP): only flows with one may have expectations',
    );
  }
  if (errno !== 0) throw refused('create the expectation', errno);
  // The kernel gives a new expectation the timeout of its helper's policy, whatever the request said.
  run.injector.expectation('update', m, 0);
  return EXIT_OK;
}
