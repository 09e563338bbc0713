/** -E: shows changes until it is interrupted. */

import type { Memory } from '../flow/record.js';
import * as E from '../kernel/enums.js';
import { EventReader } from '../kernel/event-reader.js';
import { EVENT_BUFFER_DEFAULT_BYTES, SLICE_BUDGET_MS } from '../limits.js';
import { EXIT_OK } from './errors.js';
import { ExpectationPrinter } from './expectation-printer.js';
import { FlowMatch } from './flow-match.js';
import { Printer } from './printer.js';
import type { Run } from './run.js';
import { ON_ALL, ON_DESTROY, ON_NEW, ON_UPDATE, type Settings } from './settings.js';

/** Time between two looks whether events were lost. Milliseconds. */
const LOSS_LOOK_MS = 1000;
/** Longest of the lines that may still be written after the signal that ends the watch. Milliseconds. */
const LAST_DRAIN_MS = 1000;

const GROUPS: readonly (readonly [number, number])[] = [
  [ON_NEW, E.NFNLGRP_CONNTRACK_NEW],
  [ON_UPDATE, E.NFNLGRP_CONNTRACK_UPDATE],
  [ON_DESTROY, E.NFNLGRP_CONNTRACK_DESTROY],
];
const EXPECTATION_GROUPS = [
  E.NFNLGRP_CONNTRACK_EXP_NEW,
  E.NFNLGRP_CONNTRACK_EXP_UPDATE,
  E.NFNLGRP_CONNTRACK_EXP_DESTROY,
];
/** Watches until SIGINT or SIGTERM. */
export async function watchEvents(run: Run, settings: Settings): Promise<number> {
  const isFlows = settings.table === 'conntrack';
  const kinds = settings.events === 0 ? ON_ALL : settings.events;
  const groups = GROUPS.filter(([bit]) => (kinds & bit) !== 0).map(([, group]) => group);
  const reader = new EventReader({
    bufferBytes: settings.bufferBytes ?? EVENT_BUFFER_DEFAULT_BYTES,
    isReliable: false,
    isShown: true,
    groups: isFlows ? groups : EXPECTATION_GROUPS,
    counters: run.counters,
    log: () => undefined,
  });
  if (settings.bufferBytes !== undefined) {
    run.note(`NOTICE: Netlink socket buffer size has been set to ${reader.receiveBufferBytes} bytes.`);
  }
  const sink = isFlows ? flowSink(run, settings) : expectationSink(run, settings);
  const drain = (budgetMs: number): boolean => {
    sink.tick();
    const hasMore = reader.drain(sink, budgetMs);
    run.out.flush();
    return hasMore;
  };
  let lost = 0;
  const look = (): void => {
    const now = reader.eventsLost();
    if (now > lost) {
      const more = now - lost;
      run.note(`WARNING: ${more} events were lost, the socket's buffer was full: give a larger one by -b.`);
    }
    lost = now;
  };
  const timer = setInterval(look, LOSS_LOOK_MS);
  reader.start(() => drain(SLICE_BUDGET_MS));
  await interruption();
  clearInterval(timer);
  const end = performance.now() + LAST_DRAIN_MS;
  while (drain(SLICE_BUDGET_MS) && performance.now() < end);
  look();
  reader.close();
  sink.end();
  run.summary(sink.count(), isFlows ? 'flow events' : 'expectation events', 'shown');
  return EXIT_OK;
}

const interruption = (): Promise<void> =>
  new Promise((resolve) => {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => resolve());
  });

function flowSink(run: Run, settings: Settings) {
  const printer = new Printer(run, settings);
  const match = new FlowMatch(settings);
  return {
    event: (kind: number, m: Memory, at: number, seen: number, portId: number): void => {
      if (match.matches(m, at)) printer.event(kind, m, at, seen, portId);
    },
    tick: () => printer.tick(),
    count: () => printer.count,
    end: () => printer.end(),
  };
}

function expectationSink(run: Run, settings: Settings) {
  const printer = new ExpectationPrinter(run, settings.output);
  return {
    event: () => undefined,
    expectation: (kind: number, m: Memory, at: number): void => printer.show(m, at, kind),
    tick: () => undefined,
    count: () => printer.count,
    end: () => printer.end(),
  };
}
