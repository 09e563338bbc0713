/** The connections that the kernel expects: listed, made and taken back, so that a program can be its own helper. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ENOENT } from '../../native/libc.js';
import { type Expectation, expectationFromRecord, recordFromExpectation } from '../flow/expectation-text.js';
import { DUMP_DONE, DUMP_INTERRUPTED, EVENT_NEW, type EventSink } from '../flow/kernel-port.js';
import type { Memory } from '../flow/record.js';
import { NFNLGRP_CONNTRACK_EXP_DESTROY, NFNLGRP_CONNTRACK_EXP_NEW } from '../kernel/enums.js';
import { EventReader } from '../kernel/event-reader.js';
import { ExpectationDumper } from '../kernel/expectation-dumper.js';
import type { Injector } from '../kernel/injector.js';
import { LIBRARY_EVENT_BUFFER_BYTES } from '../limits.js';
import { type CallOptions, checkWords, type EventOptions } from './call-options.js';
import { ClosedError, EXPECT_ADVICE, ListInterruptedError, refusal } from './errors.js';
import { EventStream } from './event-stream.js';
import { type ExpectationInput, expectationOf } from './expectation-input.js';
import { flushing, type WalkContext } from './table-walk.js';

/** An expectation was made, or is gone: met, timed out, taken back, or put out by a newer one of its class. */
export interface ExpectationEvent {
  readonly type: 'new' | 'destroy';
  readonly expectation: Expectation;
  /** Netlink port id of the program that caused it; 0: the kernel did. */
  readonly portId: number;
}

const LIST = 'list the expectations';
const GROUPS = [NFNLGRP_CONNTRACK_EXP_NEW, NFNLGRP_CONNTRACK_EXP_DESTROY];

/** The expectations of a Conntrack's namespace: its property `expectations`. Calls throw as those of Conntrack do. */
export class Expectations {
  private readonly context: WalkContext;
  private readonly injector: Injector;
  private readonly check: (operation: string, signal?: AbortSignal) => void;

  constructor(
    context: WalkContext,
    injector: Injector,
    check: (operation: string, signal?: AbortSignal) => void,
  ) {
    this.context = context;
    this.injector = injector;
    this.check = check;
  }

  /** Every expectation there is. Throws ListInterruptedError if the kernel did not tell all. */
  async *list(options: CallOptions = {}): AsyncGenerator<Expectation, void, undefined> {
    this.check(LIST, options.signal);
    const dumper = new ExpectationDumper(this.context.counters);
    let isClosed = false;
    const forget = this.context.onClose(() => {
      isClosed = true;
    });
    const found: Expectation[] = [];
    const sink = (m: Memory, at: number): void => {
      found.push(expectationFromRecord(m, at));
    };
    try {
      this.context.inNamespace(() => dumper.start());
      for (;;) {
        options.signal?.throwIfAborted();
        if (isClosed) throw new ClosedError(LIST);
        const state = dumper.next(sink);
        if (state === DUMP_INTERRUPTED) throw new ListInterruptedError(LIST);
        yield* found.splice(0);
        if (state === DUMP_DONE) return;
        await nextTurn();
      }
    } finally {
      forget();
      dumper.close();
    }
  }

  /**
   * Expects a connection, and returns the whole expectation. A `timeout` is given to it afterwards: the kernel starts with
   * its helper's. Throws FlowMissingError (no master), FlowExistsError, or SystemError: ENOTSUP (its master has no
   * helper), EINVAL (no such class).
   */
  async create(input: ExpectationInput | Expectation, options: CallOptions = {}): Promise<Expectation> {
    const expectation = expectationOf(input);
    const operation = `create expectation ${nameOf(expectation)}`;
    this.check(operation, options.signal);
    const record = recordFromExpectation(expectation);
    const errno = this.injector.expectation('create', record, 0);
    if (errno !== 0) throw refusal(operation, errno, EXPECT_ADVICE);
    if (expectation.timeout !== undefined) {
      const refused = this.injector.expectation('update', record, 0);
      // It may have been met in between.
      if (refused !== 0 && refused !== ENOENT) throw refusal(`${operation}: set its timeout`, refused);
    }
    return expectation;
  }

  /** Takes an expectation back: false if it was gone. Throws SystemError. */
  async delete(which: ExpectationInput | Expectation, options: CallOptions = {}): Promise<boolean> {
    const expectation = expectationOf(which);
    const operation = `delete expectation ${nameOf(expectation)}`;
    this.check(operation, options.signal);
    const errno = this.injector.expectation('delete', recordFromExpectation(expectation), 0);
    if (errno !== 0 && errno !== ENOENT) throw refusal(operation, errno);
    return errno === 0;
  }

  /** Takes all back, or those whose masters have this helper. Throws SystemError. */
  async flush(options: CallOptions & { readonly helper?: string } = {}): Promise<void> {
    checkWords('flush of the expectations', options, ['signal', 'helper']);
    this.check('flush the expectations', options.signal);
    await flushing(this.context, (requests) => requests.flushExpectations(options.helper));
  }

  /**
   * Events from now on. With nf_conntrack_events=2, the kernel's default, flows that began while nobody listened are silent
   * about their expectations too. Throws SystemError.
   */
  events(options: EventOptions = {}): EventStream<ExpectationEvent> {
    this.check('listen to expectation events', options.signal);
    const reader = this.context.inNamespace(
      () =>
        new EventReader({
          bufferBytes: options.bufferBytes ?? LIBRARY_EVENT_BUFFER_BYTES,
          isReliable: false,
          groups: GROUPS,
          counters: this.context.counters,
          log: () => undefined,
        }),
    );
    const sinkFor = (take: (event: ExpectationEvent) => void): EventSink => ({
      event: () => undefined,
      expectation: (kind, m, at, portId) => {
        const type = kind === EVENT_NEW ? 'new' : 'destroy';
        take({ type, expectation: expectationFromRecord(m, at), portId });
      },
    });
    const forget = this.context.onClose(() => stream.close());
    const stream = new EventStream<ExpectationEvent>(reader, sinkFor, options.signal, forget);
    return stream;
  }
}

function nameOf({ protocol, tuple }: Expectation): string {
  const ports = tuple.destinationPort === undefined ? '' : ` port ${tuple.destinationPort}`;
  return `${protocol} ${tuple.source} -> ${tuple.destination}${ports}`;
}
