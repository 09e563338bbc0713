/** The kernel's tables of a namespace as our decoder reads them: everything that the kernel tells, in rows that can be compared. */
import { CounterMap } from '../../../src/flow/counters.js';
import { expectationFromRecord } from '../../../src/flow/expectation-text.js';
import { flowFromRecord } from '../../../src/flow/flow.js';
import { DUMP_DONE, DUMP_INTERRUPTED, type RowSink } from '../../../src/flow/kernel-port.js';
import { formatJson } from '../../../src/flow/text.js';
import { Dumper } from '../../../src/kernel/dumper.js';
import { ExpectationDumper } from '../../../src/kernel/expectation-dumper.js';
import { inside } from './twins.js';

/** Timers go on while the two are changed one after the other. Seconds. */
const TIMEOUT_TOLERANCE_S = 5;
/** A dump that the kernel calls interrupted is begun again. */
const TRIES = 20;

export interface KernelRow {
  /** All of it but the timeout, and what no two tables share. */
  readonly text: string;
  readonly timeout: number;
  readonly id: number;
}

interface Dump {
  start(): void;
  next(sink: RowSink): number;
  close(): void;
}

function readAll(dump: Dump, row: (m: Parameters<RowSink>[0], at: number) => KernelRow): KernelRow[] {
  try {
    for (let tries = 0; tries < TRIES; tries++) {
      const rows: KernelRow[] = [];
      dump.start();
      let state: number;
      do state = dump.next((m, at) => void rows.push(row(m, at)));
      while (state !== DUMP_DONE && state !== DUMP_INTERRUPTED);
      if (state === DUMP_DONE) return rows;
    }
  } finally {
    dump.close();
  }
  throw new Error('the kernel never gave a whole dump');
}

const inOrder = (a: KernelRow, b: KernelRow): number =>
  a.text < b.text ? -1 : a.text > b.text ? 1 : a.timeout - b.timeout;

/** All flows of a namespace, in an order that equal tables share. */
export function flowRows(namespace: string): KernelRow[] {
  return inside(namespace, () =>
    readAll(new Dumper({ counters: new CounterMap(), isShown: true }), (m, at) => {
      const { id = 0, timeout = 0, timestamp: _, use: __, ...rest } = flowFromRecord(m, at);
      return { text: formatJson(rest), timeout, id };
    }),
  ).sort(inOrder);
}

/** All expectations of a namespace, likewise. */
export function expectationRows(namespace: string): KernelRow[] {
  return inside(namespace, () =>
    readAll(new ExpectationDumper(new CounterMap()), (m, at) => {
      const { timeout = 0, ...rest } = expectationFromRecord(m, at);
      return { text: JSON.stringify(rest), timeout, id: 0 };
    }),
  ).sort(inOrder);
}

/** What differs, or undefined. */
export function differenceOfRows(
  debian: readonly KernelRow[],
  twin: readonly KernelRow[],
): string | undefined {
  for (let i = 0; i < Math.max(debian.length, twin.length); i++) {
    const [a, b] = [debian[i], twin[i]];
    if (a?.text !== b?.text) return `  debian: ${a?.text}\n  twin:   ${b?.text}`;
    if (Math.abs(a.timeout - b.timeout) > TIMEOUT_TOLERANCE_S) {
      return `  timeout ${a.timeout} and ${b.timeout} of ${a.text}`;
    }
  }
  return undefined;
}
