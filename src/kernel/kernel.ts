import { EINVAL } from '../../native/libc.js';
import { SystemError } from '../../native/system-error.js';
import type { Counters } from '../flow/counters.js';
import type { EventSink, KernelBatch, KernelPort, RowSink } from '../flow/kernel-port.js';
import type { Log } from '../flow/log.js';
import type { Memory } from '../flow/record.js';
import { EVENT_BUFFER_DEFAULT_BYTES } from '../limits.js';
import { Dumper } from './dumper.js';
import type { EventFilter } from './event-program.js';
import { EventReader } from './event-reader.js';
import { ExpectationDumper } from './expectation-dumper.js';
import { Injector } from './injector.js';
import { ConntrackMissingError, explainNoAccess } from './kernel-error.js';
import { readSysctl, writeSysctl } from './sysctl.js';

export interface KernelOptions {
  /** Receive buffer of the event socket, bytes. */
  readonly eventBufferBytes?: number;
  /** Whether the kernel keeps a destroyed flow until its event was taken (default yes). */
  readonly reliable?: boolean;
  /** Whether dumps of a large, nearly empty table wait on another thread (default no: every call is synchronous). */
  readonly isPooled?: boolean;
  /** Flows of which no event is wanted; dumps show them all the same. */
  readonly filter?: EventFilter;
  readonly counters: Counters;
  readonly log: Log;
}

/**
 * The conntrack table of this network namespace: events from one socket, dumps over another, writes over a third.
 * Everything is nonblocking and short; buffers are made once.
 */
export class Kernel implements KernelPort {
  private readonly injector: Injector;
  private readonly dumper: Dumper;
  private readonly expectations: ExpectationDumper;
  private readonly reader: EventReader;

  private constructor(
    injector: Injector,
    dumper: Dumper,
    expectations: ExpectationDumper,
    reader: EventReader,
  ) {
    this.injector = injector;
    this.dumper = dumper;
    this.expectations = expectations;
    this.reader = reader;
  }

  /**
   * Opens the sockets and joins the event groups; events queue from now on. Throws NetAdminMissingError,
   * ConntrackMissingError or SystemError.
   */
  static open(options: KernelOptions): Kernel {
    let injector: Injector | undefined;
    let reader: EventReader | undefined;
    try {
      injector = new Injector(options.counters);
      const errno = injector.probe();
      if (errno !== 0) throw explainNoAccess('ask for conntrack statistics', errno);
      enableEvents(options.log);
      reader = new EventReader({
        bufferBytes: options.eventBufferBytes ?? EVENT_BUFFER_DEFAULT_BYTES,
        isReliable: options.reliable ?? true,
        ownPortId: injector.socket.portId,
        ...(options.filter ? { filter: options.filter } : {}),
        counters: options.counters,
        log: options.log,
      });
      return new Kernel(
        injector,
        new Dumper({ counters: options.counters, isShown: false, isPooled: options.isPooled ?? false }),
        new ExpectationDumper(options.counters),
        reader,
      );
    } catch (error) {
      reader?.close();
      injector?.close();
      const isPlain = error instanceof SystemError && error.constructor === SystemError;
      throw isPlain ? explainNoAccess(error.operation, error.errno, error) : error;
    }
  }

  /** Port ids of the two lasting sockets, as netlink messages name them. */
  get portIds(): { readonly events: number; readonly injector: number } {
    return { events: this.reader.socket.portId, injector: this.injector.socket.portId };
  }

  /** Receive buffer of the event socket there is, bytes as the kernel counts: less than twice the wish when capped. */
  get eventBufferBytes(): number {
    return this.reader.receiveBufferBytes;
  }

  /** From now on `onReady` is called when events wait: call `drain` there, once; it is called again if some are left. */
  start(onReady: () => void): void {
    this.reader.start(onReady);
  }

  dumpStart(): void {
    this.dumper.start();
  }

  dumpNext(sink: RowSink): number {
    return this.dumper.next(sink);
  }

  buckets(): number {
    return readSysctl('buckets') ?? 0;
  }

  room(): number {
    return Math.max(0, (readSysctl('max') ?? 0) - (readSysctl('count') ?? 0));
  }

  execute(batch: KernelBatch): void {
    this.injector.execute(batch);
  }

  eventsLost(): number {
    return this.reader.eventsLost();
  }

  drain(sink: EventSink, budgetMs: number): boolean {
    return this.reader.drain(sink, budgetMs);
  }

  setBulk(isBulk: boolean): void {
    this.reader.setBulk(isBulk);
  }

  expectationDumpStart(): void {
    this.expectations.start();
  }

  expectationDumpNext(sink: RowSink): number {
    return this.expectations.next(sink);
  }

  createExpectation(m: Memory, at: number): number {
    return this.injector.expectation('create', m, at);
  }

  updateExpectation(m: Memory, at: number): number {
    return this.injector.expectation('update', m, at);
  }

  deleteExpectation(m: Memory, at: number): number {
    return this.injector.expectation('delete', m, at);
  }

  close(): void {
    this.reader.close();
    this.expectations.close();
    this.dumper.close();
    this.injector.close();
  }
}

/** With the default of 2 a flow that is born while nobody listens never has an event; with 1 every flow has. */
function enableEvents(log: Log): void {
  if (readSysctl('events') === 1 || writeSysctl('events', 1)) return;
  const now = readSysctl('events');
  if (now === undefined || now === 0) {
    throw new ConntrackMissingError('set nf_conntrack_events to 1', EINVAL);
  }
  log(
    'warn',
    'nf_conntrack_events could not be set to 1: flows born before this start are seen by audits only',
    { now },
  );
}
