import { ENOBUFS, EPERM, MSG_TRUNC } from '../../native/libc.js';
import { NetlinkSocket } from '../../native/netlink-socket.js';
import { ReadPacer } from '../../native/read-pacer.js';
import { type BpfInstruction, DatagramVector } from '../../native/structs.js';
import { SystemError } from '../../native/system-error.js';
import type { Counters } from '../flow/counters.js';
import type { EventSink } from '../flow/kernel-port.js';
import type { Log } from '../flow/log.js';
import { EVENT_BATCH, EVENT_HOLD_MS } from '../limits.js';
import { CtnetlinkDecoder } from './decode.js';
import { DeliveryWatchdog } from './delivery-watchdog.js';
import {
  NFNLGRP_CONNTRACK_DESTROY,
  NFNLGRP_CONNTRACK_EXP_DESTROY,
  NFNLGRP_CONNTRACK_EXP_NEW,
  NFNLGRP_CONNTRACK_NEW,
  NFNLGRP_CONNTRACK_UPDATE,
} from './enums.js';
import { type EventFilter, eventProgram } from './event-program.js';
import { ExpectationDecoder, isExpectationType } from './expectation-decode.js';
import { NetAdminMissingError } from './kernel-error.js';
import { NewFlowBell } from './new-flow-bell.js';
import { tableFill } from './sysctl.js';

/**
 * An event is under 500 bytes; one that is longer than this is counted and an audit finds its flow. Room for more
 * would spread a batch over more pages than the processor's caches hold.
 */
const DATAGRAM_MAX_BYTES = 1024;
/** More events a millisecond than this are fetched by timer: a wake-up each would cost half the CPU. */
const BUSY_EVENTS = 20;
const NLMSG_HEADER_BYTES = 16;
const WATCHDOG_INTERVAL_MS = 500;

/** Everything there is to hear. The kernel has a group for updates of expectations, and sends nothing to it. */
const ALL_GROUPS = [
  NFNLGRP_CONNTRACK_NEW,
  NFNLGRP_CONNTRACK_UPDATE,
  NFNLGRP_CONNTRACK_DESTROY,
  NFNLGRP_CONNTRACK_EXP_NEW,
  NFNLGRP_CONNTRACK_EXP_DESTROY,
];

export interface EventReaderOptions {
  /** Receive buffer asked for, bytes; an event takes 1,280. */
  readonly bufferBytes: number;
  /** Whether the kernel keeps a destroyed flow until its event was taken. */
  readonly isReliable: boolean;
  /** Port id of the injector: what it causes is not heard. Absent: everything is. */
  readonly ownPortId?: number;
  /** Whether records carry what is only shown: counters, timestamps, security context (default no). */
  readonly isShown?: boolean;
  /** Groups to listen to (NFNLGRP_*); those of flows and expectations by default. */
  readonly groups?: readonly number[];
  /** Flows of which no event is wanted. */
  readonly filter?: EventFilter;
  readonly counters: Counters;
  readonly log: Log;
}

/**
 * Reads conntrack events from a socket that only listens. Nothing is allocated per event, and no overrun ends it:
 * what did not fit is counted (`eventsLost`), which calls for an audit.
 */
export class EventReader {
  readonly socket: NetlinkSocket;
  /** Receive buffer there is, bytes as the kernel counts. */
  readonly receiveBufferBytes: number;
  private readonly options: EventReaderOptions;
  private readonly vector = new DatagramVector(EVENT_BATCH, DATAGRAM_MAX_BYTES);
  private readonly words = new Uint32Array(this.vector.data.buffer);
  private readonly decoder: CtnetlinkDecoder;
  private readonly expectations: ExpectationDecoder;
  private readonly watchdog = new DeliveryWatchdog();
  private pacer: ReadPacer | undefined;
  private bell: NewFlowBell | undefined;
  private isHolding = false;
  private watchdogTimer: NodeJS.Timeout | undefined;
  private lost = 0;
  private lastDrops = 0;
  private isBulk = false;

  /** Throws SystemError: NetAdminMissingError without CAP_NET_ADMIN. */
  constructor(options: EventReaderOptions) {
    this.options = options;
    this.decoder = new CtnetlinkDecoder(options.counters);
    this.expectations = new ExpectationDecoder(options.counters);
    this.socket = new NetlinkSocket();
    try {
      this.receiveBufferBytes = this.socket.setReceiveBuffer(options.bufferBytes);
      this.socket.ignoreOverruns();
      if (options.isReliable) this.socket.setReliable(true);
      // Before the groups are joined, or the first own writes would slip in.
      this.attachFilter();
      for (const group of options.groups ?? ALL_GROUPS) this.socket.joinGroup(group);
    } catch (error) {
      this.socket.close();
      const isForbidden = error instanceof SystemError && error.errno === EPERM;
      throw isForbidden ? new NetAdminMissingError('listen to conntrack events', EPERM, error) : error;
    }
  }

  private attachFilter(): void {
    if (eventProgram(this.options.ownPortId, this.options.filter) === undefined)
      this.options.log('info', 'the filter is too long for the kernel, events pass to be filtered here');
    this.socket.attachFilter(this.program());
  }

  private program(): BpfInstruction[] {
    const { ownPortId, filter } = this.options;
    return eventProgram(ownPortId, filter) ?? eventProgram(ownPortId)!;
  }

  /** Calls `onReady` whenever events may wait; it shall call `drain`, and is called again if that left some. */
  start(onReady: () => void): void {
    if (this.pacer !== undefined) return;
    const onFailure = (status: number): void => {
      this.options.counters.count('kernel.watcher-restarted');
      this.options.log('warn', 'event socket reported an error, watching it again', { status });
    };
    const holding = { ms: EVENT_HOLD_MS, onHold: (isHolding: boolean) => this.setHolding(isHolding) };
    this.pacer = new ReadPacer(this.socket.fd, BUSY_EVENTS, onReady, onFailure, holding);
    this.bell = new NewFlowBell(this.program(), () => this.pacer?.readNow());
    if (!this.options.isReliable) return;
    this.watchdogTimer = setInterval(() => this.watch(performance.now()), WATCHDOG_INTERVAL_MS);
    this.watchdogTimer.unref();
  }

  /** Reads queued events into the sink for about `budgetMs`. False when the queue was read to empty. */
  drain(sink: EventSink, budgetMs: number): boolean {
    const end = performance.now() + budgetMs;
    let events = 0;
    let hasMore = true;
    for (;;) {
      const count = this.socket.receiveMany(this.vector);
      if (count > 0) {
        for (let i = 0; i < count; i++) this.deliver(i, sink);
        events += count;
      } else if (count === -ENOBUFS) {
        this.options.counters.count('kernel.overrun');
        continue;
      }
      if (count < EVENT_BATCH) {
        hasMore = false;
        break;
      }
      if (performance.now() >= end) break;
    }
    // What was lost is asked for by whoever wants to know (eventsLost): a system call more in every turn otherwise.
    this.pacer?.report(events, hasMore);
    return hasMore;
  }

  private deliver(i: number, sink: EventSink): void {
    let from = this.vector.start(i);
    const end = from + this.vector.length(i);
    if ((this.vector.flags(i) & MSG_TRUNC) !== 0) {
      this.options.counters.count('kernel.event-too-long');
      this.lost++;
      return;
    }
    while (end - from >= NLMSG_HEADER_BYTES) {
      const length = this.words[from >>> 2];
      if (length < NLMSG_HEADER_BYTES || length > end - from) {
        this.options.counters.count('kernel.message-length');
        return;
      }
      this.decodeOne(from, from + length, sink);
      from += (length + 3) & ~3;
    }
  }

  private decodeOne(from: number, to: number, sink: EventSink): void {
    if (isExpectationType(this.words[(from >>> 2) + 1] & 0xffff)) {
      this.decodeExpectation(from, to, sink);
      return;
    }
    const decoder = this.decoder;
    if (decoder.decode(this.vector.data, from, to, this.options.isShown === true) === 0) return;
    if (decoder.portId === this.options.ownPortId) {
      this.options.counters.count('kernel.own-event');
      return;
    }
    sink.event(decoder.kind, decoder.m, 0, decoder.seen, decoder.portId, decoder.status);
  }

  private decodeExpectation(from: number, to: number, sink: EventSink): void {
    const decoder = this.expectations;
    if (decoder.decode(this.vector.data, from, to) === 0) return;
    if (decoder.portId === this.options.ownPortId) this.options.counters.count('kernel.own-event');
    else sink.expectation?.(decoder.kind, decoder.m, 0, decoder.portId);
  }

  private readDrops(): void {
    this.socket.readMemoryInfo();
    const drops = this.socket.drops;
    // The kernel's counter wraps at 2^32.
    const more = (drops - this.lastDrops) >>> 0;
    if (more === 0) return;
    this.lastDrops = drops;
    this.lost += more;
    this.options.counters.count('kernel.events-lost', more);
  }

  /** Events that did not fit into the queue, ever; with reliable delivery each try counts. */
  eventsLost(): number {
    this.readDrops();
    return this.lost;
  }

  /** Bytes that wait in the queue, 1,280 an event. */
  queuedBytes(): number {
    this.readDrops();
    return this.socket.queuedBytes;
  }

  /** In bulk the NEW group is left: the kernel then builds no event for what the injector creates. */
  setBulk(isBulk: boolean): void {
    if (isBulk === this.isBulk) return;
    this.isBulk = isBulk;
    this.setHolding(this.isHolding);
    if (isBulk) this.socket.leaveGroup(NFNLGRP_CONNTRACK_NEW);
    else this.socket.joinGroup(NFNLGRP_CONNTRACK_NEW);
  }

  /** While events wait for each other the bell tells of those that shall not; in bulk nobody is to hear of the new. */
  private setHolding(isHolding: boolean): void {
    this.isHolding = isHolding;
    this.bell?.set(isHolding && !this.isBulk);
  }

  private watch(now: number): void {
    this.readDrops();
    const state = {
      queuedBytes: this.socket.queuedBytes,
      receiveBufferBytes: this.socket.receiveBufferBytes,
      lost: this.lost,
    };
    if (!this.watchdog.check(now, state, tableFill)) return;
    this.socket.setReliable(this.watchdog.isReliable);
    if (this.watchdog.isReliable) {
      this.options.log('info', 'event queue is short again, reliable delivery is on');
    } else {
      this.options.counters.count('kernel.reliable-off');
      this.options.log('warn', 'event queue stays full, reliable delivery is off', state);
    }
  }

  close(): void {
    clearInterval(this.watchdogTimer);
    this.pacer?.close();
    this.bell?.close();
    this.socket.close();
  }
}
