/** `flows watch`: the kernel's events as lines, and how many there are a second. */

import { CounterMap } from '../flow/counters.js';
import { FlowFilter } from '../flow/filter.js';
import { type Flow, flowFromRecord } from '../flow/flow.js';
import { EVENT_DESTROY, EVENT_NEW, type EventSink, SEEN_MARK, SEEN_STATUS } from '../flow/kernel-port.js';
import { formatJson } from '../flow/text.js';
import type { About } from '../flow/where/fields.js';
import { withHints } from '../flow/where/where.js';
import {
  NFNLGRP_CONNTRACK_DESTROY,
  NFNLGRP_CONNTRACK_NEW,
  NFNLGRP_CONNTRACK_UPDATE,
} from '../kernel/enums.js';
import { EventReader } from '../kernel/event-reader.js';
import { readSysctl } from '../kernel/sysctl.js';
import { EventsDisabledError } from '../library/errors.js';
import { FlowSelection } from '../library/flow-selection.js';
import { EVENT_BUFFER_DEFAULT_BYTES, SLICE_BUDGET_MS } from '../limits.js';
import { end, translation } from './flow-columns.js';
import type { FlowQuery } from './flow-query.js';
import { grouped, type Terminal } from './terminal.js';

export const EVENT_KINDS = ['new', 'update', 'destroy'] as const;
export type EventKind = (typeof EVENT_KINDS)[number];

export interface WatchOptions {
  readonly kinds: readonly EventKind[];
  readonly isJson: boolean;
  /** A line a second of how many there were, instead of the events. */
  readonly isRates: boolean;
  /** Ends it; a number of events (Infinity), and a time in milliseconds. */
  readonly signal: AbortSignal;
  readonly maxEvents: number;
  /** Lines of rates. */
  readonly maxTicks: number;
  readonly maxMs: number | undefined;
}

const GROUPS: Readonly<Record<EventKind, number>> = {
  new: NFNLGRP_CONNTRACK_NEW,
  update: NFNLGRP_CONNTRACK_UPDATE,
  destroy: NFNLGRP_CONNTRACK_DESTROY,
};
const RATE_MS = 1000;
/** Longest reading of what had come before the end. Milliseconds. */
const LAST_DRAIN_MS = 1000;
/** Text that waits for its reader, characters: then the events wait in the socket. */
const TEXT_MAX = 1 << 20;
const WIPE = '\r\x1b[K';

type Counts = Record<EventKind, number>;
const noCounts = (): Counts => ({ new: 0, update: 0, destroy: 0 });

export class FlowWatch {
  readonly total = noCounts();
  lost = 0;
  readonly #query: FlowQuery;
  readonly #options: WatchOptions;
  readonly #terminal: Terminal;
  readonly #reader: EventReader;
  readonly #about: About = { owner: 0, node: '', now: 0 };
  readonly #filter: FlowFilter;
  #second = noCounts();
  #lostTold = 0;
  #text = '';
  #hasRateLine = false;
  #isWriting = false;
  #done: () => void = () => undefined;
  #clock = '';
  #ticks = 0;

  /** Listens from now on. Throws EventsDisabledError or SystemError. */
  constructor(terminal: Terminal, query: FlowQuery, options: WatchOptions) {
    if (readSysctl('events') === 0) throw new EventsDisabledError();
    this.#terminal = terminal;
    this.#query = query;
    this.#options = options;
    this.#filter = new FlowFilter(query.filter);
    const { events } = new FlowSelection(withHints(query.filter, query.where));
    this.#reader = new EventReader({
      bufferBytes: EVENT_BUFFER_DEFAULT_BYTES,
      isReliable: false,
      isShown: true,
      groups: options.kinds.map((kind) => GROUPS[kind]),
      ...(events === undefined ? {} : { filter: events }),
      counters: new CounterMap(),
      log: () => undefined,
    });
  }

  get #count(): number {
    return this.total.new + this.total.update + this.total.destroy;
  }

  /** Shows what happens until it is to end. */
  async run(): Promise<void> {
    const { signal, maxMs } = this.#options;
    const since = performance.now();
    const ended = new Promise<void>((resolve) => {
      this.#done = resolve;
    });
    const rates = setInterval(() => this.#tick(), RATE_MS);
    const timer = maxMs === undefined ? undefined : setTimeout(this.#done, maxMs);
    signal.addEventListener('abort', this.#done);
    if (signal.aborted) this.#done();
    this.#reader.start(() => this.#drain());
    await ended;
    clearInterval(rates);
    clearTimeout(timer);
    const until = performance.now() + LAST_DRAIN_MS;
    while (this.#reader.drain(this.#sink, SLICE_BUDGET_MS) && performance.now() < until);
    this.lost = this.#reader.eventsLost();
    this.#reader.close();
    await this.#write();
    this.#wipe();
    this.#summary(performance.now() - since);
  }

  #drain(): void {
    // A reader that is slow holds the events in the socket, whose buffer is bounded, and what it loses is counted.
    if (this.#isWriting && this.#text.length > TEXT_MAX) return;
    const now = new Date();
    this.#clock = now.toISOString().slice(11, 23);
    this.#about.now = now.getTime() / 1000;
    this.#reader.drain(this.#sink, SLICE_BUDGET_MS);
    if (!this.#isWriting) void this.#write();
  }

  async #write(): Promise<void> {
    this.#isWriting = true;
    while (this.#text !== '') {
      const text = this.#text;
      this.#text = '';
      this.#wipe();
      await this.#terminal.out(text);
    }
    this.#isWriting = false;
  }

  readonly #sink: EventSink = {
    event: (number, m, at, seen, portId) => {
      const { kinds, maxEvents, isRates } = this.#options;
      const kind = number === EVENT_NEW ? 'new' : number === EVENT_DESTROY ? 'destroy' : 'update';
      if (this.#count >= maxEvents || !kinds.includes(kind) || !this.#filter.matches(m, at)) return;
      if (this.#query.where?.matches(m, at, this.#about) === false) return;
      this.total[kind]++;
      this.#second[kind]++;
      if (!isRates) {
        const flow = flowFromRecord(m, at);
        // A mark that was cleared is told, and is then no absent one.
        if ((seen & SEEN_MARK) !== 0) flow.mark ??= 0;
        this.#text += this.#options.isJson
          ? this.#json(kind, flow, portId)
          : this.#line(kind, flow, portId, (seen & SEEN_STATUS) !== 0);
      }
      if (this.#count >= maxEvents) this.#done();
    },
  };

  #json(kind: EventKind, flow: Flow, portId: number): string {
    const head = { event: kind, time: this.#about.now, ...(portId === 0 ? {} : { portId }) };
    return `${JSON.stringify(head).slice(0, -1)},${formatJson(flow).slice(1)}\n`;
  }

  #line(kind: EventKind, flow: Flow, portId: number, hasStatus: boolean): string {
    const { original, protoinfo, status, mark, counters } = flow;
    const words = [
      this.#clock,
      kind.padEnd(7),
      flow.protocol.padEnd(4),
      `${end(original.source, original.sourcePort)} > ${end(original.destination, original.destinationPort)}`,
      original.icmpId === undefined ? '' : `type ${original.icmpType} id ${original.icmpId}`,
      protoinfo?.state?.toLowerCase().replaceAll('_', '-') ?? '',
      hasStatus && !status.includes('SEEN_REPLY') ? 'unreplied' : '',
      status.includes('ASSURED') ? 'assured' : '',
      translation(flow),
      mark === undefined ? '' : `mark ${mark}`,
      counters === undefined ? '' : countersText(counters),
      portId === 0 ? '' : `by port id ${portId}`,
    ];
    return `${words.filter((word) => word !== '').join('  ')}\n`;
  }

  /** Once a second: the rates, and what was lost. */
  #tick(): void {
    const counts = this.#second;
    this.#second = noCounts();
    this.lost = this.#reader.eventsLost();
    const lost = this.lost - this.#lostTold;
    this.#lostTold = this.lost;
    const { isRates, isJson } = this.#options;
    if (isRates) {
      const line = isJson ? JSON.stringify({ event: 'rates', ...counts, lost }) : ratesText(counts, lost);
      this.#text += `${line}\n`;
      if (++this.#ticks >= this.#options.maxTicks) this.#done();
      if (!this.#isWriting) void this.#write();
    } else if (this.#terminal.isInteractive) {
      this.#terminal.err(`${WIPE}${ratesText(counts, lost)}`);
      this.#hasRateLine = true;
    } else if (lost > 0) this.#terminal.err(`conntwin: ${grouped(lost)} events were lost\n`);
  }

  /** The line of rates stands where the next event is to stand. */
  #wipe(): void {
    if (this.#hasRateLine) this.#terminal.err(WIPE);
    this.#hasRateLine = false;
  }

  #summary(ms: number): void {
    const seconds = ms / 1000;
    const rate = (kind: EventKind) =>
      `${kind} ${grouped(this.total[kind])} (${(this.total[kind] / seconds).toFixed(1)}/s)`;
    const lost =
      this.lost === 0 ? 'none lost' : `${grouped(this.lost)} LOST: conntwin flows list shows what there is`;
    this.#terminal.err(`${seconds.toFixed(1)} s: ${this.#options.kinds.map(rate).join(', ')}; ${lost}\n`);
  }
}

const ratesText = (counts: Counts, lost: number): string =>
  `${EVENT_KINDS.map((kind) => `${kind} ${grouped(counts[kind])}/s`).join('  ')}  lost ${grouped(lost)}`;

function countersText({ original, reply }: NonNullable<Flow['counters']>): string {
  const packets = (original?.packets ?? 0n) + (reply?.packets ?? 0n);
  const bytes = (original?.bytes ?? 0n) + (reply?.bytes ?? 0n);
  return `${packets} packets ${bytes} bytes`;
}
