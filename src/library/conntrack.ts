/** The conntrack table of one network namespace, for programs: works without the daemon, over sockets of its own. */
import { ENOENT, EPERM } from '../../native/libc.js';
import { NetNamespace } from '../../native/net-namespace.js';
import { CounterMap } from '../flow/counters.js';
import { type Flow, flowFromRecord } from '../flow/flow.js';
import {
  EVENT_DESTROY,
  EVENT_NEW,
  type EventSink,
  KernelBatch,
  OP_CREATE,
  OP_DELETE,
  OP_GET,
  SEEN_MARK,
} from '../flow/kernel-port.js';
import { allocateMemory, MAX_RECORD_BYTES, type Memory } from '../flow/record.js';
import type { DumpList } from '../kernel/dump-request.js';
import {
  NFNLGRP_CONNTRACK_DESTROY,
  NFNLGRP_CONNTRACK_NEW,
  NFNLGRP_CONNTRACK_UPDATE,
} from '../kernel/enums.js';
import { EventReader } from '../kernel/event-reader.js';
import { Injector } from '../kernel/injector.js';
import { explainNoAccess } from '../kernel/kernel-error.js';
import { readSysctl } from '../kernel/sysctl.js';
import { type CpuStats, type ExpectationCpuStats, TableRequests } from '../kernel/table-requests.js';
import { INJECT_BATCH, LIBRARY_EVENT_BUFFER_BYTES } from '../limits.js';
import { type CallOptions, checkWords, type EventOptions, type ListOptions } from './call-options.js';
import {
  ClosedError,
  CREATE_ADVICE,
  EventsDisabledError,
  FIXED_ADVICE,
  refusal,
  UPDATE_ADVICE,
} from './errors.js';
import { EventStream } from './event-stream.js';
import { Expectations } from './expectations.js';
import {
  changedAttributes,
  type FlowChanges,
  type FlowInput,
  type FlowKey,
  keyOf,
  nameOf,
  writeInput,
} from './flow-input.js';
import { type FlowFilter, FlowSelection } from './flow-selection.js';
import { flushing, type WalkContext, walkTable } from './table-walk.js';

export interface OpenOptions {
  /** Network namespace: a name (`ip netns add NAME`), or a path with a slash (/proc/PID/ns/net). The current one unless given. */
  readonly netns?: string;
}

/**
 * A flow began, changed, or ended. `flow` has what the kernel tells of it, and no more: an update has the mark, the
 * protocol's state or the labels only if those changed, an ended flow has its counters where the kernel counts.
 */
export interface FlowEvent {
  readonly type: 'new' | 'update' | 'destroy';
  readonly flow: Flow;
  /** Netlink port id of the program that caused it; 0: the kernel did, for a packet or a timeout. */
  readonly portId: number;
}

export interface DeleteResult {
  /** Flows that are deleted. */
  readonly deleted: number;
  /** Flows that were to be, and were gone by then. */
  readonly gone: number;
}

export interface TableStats {
  /** Flows there are, those included that are destroyed while their events wait. */
  readonly entries: number;
  /** Flows there may be (nf_conntrack_max); undefined where the kernel does not tell. */
  readonly maxEntries: number | undefined;
  readonly cpus: readonly CpuStats[];
  readonly expectationCpus: readonly ExpectationCpuStats[];
}

const GROUPS = [NFNLGRP_CONNTRACK_NEW, NFNLGRP_CONNTRACK_UPDATE, NFNLGRP_CONNTRACK_DESTROY];
const WHOLE: readonly undefined[] = [undefined];

/**
 * The conntrack table of one network namespace. Calls throw SystemError (operation, errno, code) or one of its kinds,
 * and RangeError, with the path of the value, for what no flow can be.
 */
export class Conntrack implements AsyncDisposable {
  /** Connections that are expected. */
  readonly expectations: Expectations;
  private readonly namespace: NetNamespace | undefined;
  private readonly counters = new CounterMap();
  private readonly injector: Injector;
  private readonly requests: TableRequests;
  private readonly batch = new KernelBatch(INJECT_BATCH);
  private readonly scratch = allocateMemory(MAX_RECORD_BYTES);
  private readonly closers = new Set<() => void>();
  private readonly context: WalkContext;
  private isClosed = false;

  private constructor(namespace: NetNamespace | undefined, injector: Injector, requests: TableRequests) {
    this.namespace = namespace;
    this.injector = injector;
    this.requests = requests;
    this.context = {
      counters: this.counters,
      inNamespace: (work) => this.inNamespace(work),
      onClose: (close) => {
        this.closers.add(close);
        return () => this.closers.delete(close);
      },
    };
    this.expectations = new Expectations(this.context, injector, (operation, signal) => {
      this.check(operation, signal);
    });
  }

  /**
   * Opens the table of the current network namespace, or of the one named. Throws NetAdminMissingError (EPERM),
   * ConntrackMissingError, or SystemError: ENOENT where there is no such namespace.
   */
  static async open(options: OpenOptions = {}): Promise<Conntrack> {
    const namespace = options.netns === undefined ? undefined : new NetNamespace(options.netns);
    const counters = new CounterMap();
    let injector: Injector | undefined;
    let requests: TableRequests | undefined;
    const openSockets = (): [Injector, TableRequests] => {
      injector = new Injector(counters, true);
      requests = new TableRequests();
      return [injector, requests];
    };
    try {
      const sockets = namespace === undefined ? openSockets() : namespace.run(openSockets);
      const errno = sockets[0].probe();
      if (errno !== 0) throw explainNoAccess('open the conntrack table', errno);
      return new Conntrack(namespace, ...sockets);
    } catch (error) {
      requests?.close();
      injector?.close();
      namespace?.close();
      throw error;
    }
  }

  private inNamespace<T>(work: () => T): T {
    return this.namespace === undefined ? work() : this.namespace.run(work);
  }

  private check(operation: string, signal?: AbortSignal): void {
    signal?.throwIfAborted();
    if (this.isClosed) throw new ClosedError(operation);
  }

  /**
   * Every flow that the filter means, as the kernel tells them: some hundred are in memory at a time. Flows that begin
   * or end meanwhile may be told or not. Throws ListInterruptedError if the hash table was resized meanwhile.
   */
  list(filter?: FlowFilter, options: ListOptions = {}): AsyncGenerator<Flow, void, undefined> {
    return this.listed(new FlowSelection(filter), options);
  }

  private async *listed(
    selection: FlowSelection,
    options: ListOptions,
  ): AsyncGenerator<Flow, void, undefined> {
    this.check('list the conntrack table', options.signal);
    const list: DumpList = options.from ?? 'table';
    let flows: Flow[] = [];
    const sink = (m: Memory, at: number): void => {
      if (selection.matches(m, at)) flows.push(flowFromRecord(m, at));
    };
    const filters = list === 'table' ? selection.dumps : WHOLE;
    for await (const _ of walkTable(this.context, list, filters, sink, options.signal)) {
      const batch = flows;
      flows = [];
      yield* batch;
    }
  }

  /** The flow with this original tuple (or reply tuple: the kernel looks for both), or undefined if there is none. */
  async get(key: FlowKey, options: CallOptions = {}): Promise<Flow | undefined> {
    const operation = `get flow ${nameOf(key)}`;
    this.check(operation, options.signal);
    return this.find(key, operation);
  }

  private find(key: FlowKey, operation: string): Flow | undefined {
    const { batch } = this;
    writeInput(keyOf(key), this.scratch);
    batch.clear();
    batch.add(OP_GET, 0, this.scratch, 0);
    this.injector.execute(batch);
    if (batch.errno[0] === ENOENT) return undefined;
    if (batch.errno[0] !== 0) throw refusal(operation, batch.errno[0]);
    return flowFromRecord(batch.found, batch.foundAt[0]);
  }

  /**
   * Creates a flow, and returns it as the kernel then shows it. Its timeout is 30 s unless given; a reply tuple that is
   * not the inverse of the original one makes the kernel translate it (a nat chain of its family must exist). Throws
   * FlowExistsError, FlowMissingError (no master), TableFullError, or SystemError.
   */
  async create(flow: FlowInput, options: CallOptions = {}): Promise<Flow> {
    const operation = `create flow ${nameOf(flow)}`;
    this.check(operation, options.signal);
    const { batch } = this;
    writeInput(flow, this.scratch);
    batch.clear();
    batch.add(OP_CREATE, 0, this.scratch, 0);
    batch.add(OP_GET, 0, this.scratch, 0);
    this.injector.execute(batch);
    if (batch.errno[0] !== 0) throw refusal(operation, batch.errno[0], CREATE_ADVICE);
    if (batch.errno[1] !== 0) throw refusal(`${operation}: see it created`, batch.errno[1]);
    return flowFromRecord(batch.found, batch.foundAt[1]);
  }

  /**
   * Changes what `changes` names of a flow that is there, and nothing else: status bits are added, labels replaced. Throws
   * FlowMissingError, or SystemError; what stood before the value that the kernel refused may then be changed already.
   */
  async update(key: FlowKey, changes: FlowChanges, options: CallOptions = {}): Promise<void> {
    const operation = `update flow ${nameOf(key)}`;
    this.check(operation, options.signal);
    const only = changedAttributes(changes);
    const flow: FlowInput = { ...keyOf(key), ...changes };
    if (changes.status !== undefined) {
      // The kernel takes a status without a bit that is set for the wish to clear it.
      const found = this.find(key, operation);
      if (found === undefined) throw refusal(operation, ENOENT);
      flow.status = [...new Set([...found.status, ...changes.status])];
    }
    writeInput(flow, this.scratch);
    const errno = this.injector.change(this.scratch, 0, only);
    if (errno === 0) return;
    const isFixed = errno === EPERM && this.find(key, operation)?.status.includes('FIXED_TIMEOUT') === true;
    throw refusal(operation, errno, isFixed ? FIXED_ADVICE : UPDATE_ADVICE);
  }

  /**
   * Deletes one flow (with an `id` only that life of it), or all that a filter means, in batches, each by its tuple and id:
   * a flow that takes the tuple of one that just ended stays. Throws RangeError for a filter that asks for nothing.
   */
  async delete(which: FlowKey | FlowFilter, options: CallOptions = {}): Promise<DeleteResult> {
    if ('original' in which) return this.deleteOne(which, options);
    const operation = 'delete flows';
    this.check(operation, options.signal);
    const selection = new FlowSelection(which);
    if (selection.isEverything) {
      throw new RangeError('delete: this filter means every flow of the table: flush() says so');
    }
    const result = { deleted: 0, gone: 0 };
    // Its own: other calls have their turn between the sink and what follows it.
    const batch = new KernelBatch(INJECT_BATCH);
    const sink = (m: Memory, at: number): void => {
      if (!selection.matches(m, at)) return;
      batch.add(OP_DELETE, 0, m, at);
      if (batch.isFull) this.executeDeletes(operation, batch, result);
    };
    for await (const _ of walkTable(this.context, 'table', selection.dumps, sink, options.signal)) {
      this.executeDeletes(operation, batch, result);
    }
    return result;
  }

  private async deleteOne(key: FlowKey, options: CallOptions): Promise<DeleteResult> {
    const operation = `delete flow ${nameOf(key)}`;
    this.check(operation, options.signal);
    const result = { deleted: 0, gone: 0 };
    writeInput(keyOf(key), this.scratch);
    this.batch.clear();
    this.batch.add(OP_DELETE, 0, this.scratch, 0);
    this.executeDeletes(operation, this.batch, result);
    return result;
  }

  private executeDeletes(
    operation: string,
    batch: KernelBatch,
    result: { deleted: number; gone: number },
  ): void {
    this.injector.execute(batch);
    const { count } = batch;
    batch.clear();
    for (let i = 0; i < count; i++) {
      if (batch.errno[i] === 0) result.deleted++;
      else if (batch.errno[i] === ENOENT) result.gone++;
      else throw refusal(operation, batch.errno[i]);
    }
  }

  /** Deletes every flow, in one request to the kernel, which goes to its end. Throws SystemError. */
  async flush(options: CallOptions = {}): Promise<void> {
    checkWords('flush (it empties the whole table; delete takes a filter)', options, ['signal']);
    this.check('flush the conntrack table', options.signal);
    await flushing(this.context, (requests) => requests.flush());
  }

  /**
   * The number of flows that the filter means, counted one by one; without a filter the kernel's own number, in which
   * flows count that have ended and were not yet collected.
   */
  async count(filter?: FlowFilter, options: CallOptions = {}): Promise<number> {
    this.check('count flows', options.signal);
    const selection = new FlowSelection(filter);
    if (selection.isEverything) return this.requests.entries().entries;
    let count = 0;
    const sink = (m: Memory, at: number): void => {
      if (selection.matches(m, at)) count++;
    };
    for await (const _ of walkTable(this.context, 'table', selection.dumps, sink, options.signal));
    return count;
  }

  /** What the kernel counts: flows, and per CPU what packets met. Throws SystemError. */
  async stats(options: CallOptions = {}): Promise<TableStats> {
    this.check('ask for conntrack statistics', options.signal);
    const { requests } = this;
    return {
      ...requests.entries(),
      cpus: requests.cpus(),
      expectationCpus: requests.expectationCpus(),
    };
  }

  /**
   * Events from now on, of the flows that the filter means as each event tells them (an update without a mark counts as
   * mark 0). With nf_conntrack_events=2, the kernel's default, a flow that began while nobody listened is silent for life.
   * Throws EventsDisabledError, or SystemError.
   */
  events(filter?: FlowFilter, options: EventOptions = {}): EventStream<FlowEvent> {
    this.check('listen to conntrack events', options.signal);
    const selection = new FlowSelection(filter);
    const reader = this.openReader(GROUPS, selection, options);
    const sinkFor = (take: (event: FlowEvent) => void): EventSink => ({
      event: (kind, m, at, seen, portId) => {
        if (selection.matches(m, at)) take(flowEvent(kind, m, at, seen, portId));
      },
    });
    const forget = this.context.onClose(() => stream.close());
    const stream = new EventStream<FlowEvent>(reader, sinkFor, options.signal, forget);
    return stream;
  }

  private openReader(
    groups: readonly number[],
    selection: FlowSelection,
    options: EventOptions,
  ): EventReader {
    return this.inNamespace(() => {
      if (readSysctl('events') === 0) throw new EventsDisabledError();
      return new EventReader({
        bufferBytes: options.bufferBytes ?? LIBRARY_EVENT_BUFFER_BYTES,
        isReliable: false,
        isShown: true,
        groups,
        ...(selection.events === undefined ? {} : { filter: selection.events }),
        counters: this.counters,
        log: () => undefined,
      });
    });
  }

  /** Closes all sockets. Streams of events end; lists under way throw ClosedError at their next step. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    for (const close of [...this.closers]) close();
    this.requests.close();
    this.injector.close();
    this.namespace?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}

function flowEvent(kind: number, m: Memory, at: number, seen: number, portId: number): FlowEvent {
  const flow = flowFromRecord(m, at);
  // A mark that was cleared is told, and is then no absent one.
  if ((seen & SEEN_MARK) !== 0) flow.mark ??= 0;
  const type = kind === EVENT_NEW ? 'new' : kind === EVENT_DESTROY ? 'destroy' : 'update';
  return { type, flow, portId };
}
