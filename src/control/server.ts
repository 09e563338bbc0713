import { accessSync, chmodSync, constants, statSync, unlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import {
  type handleServerStreamingCall,
  type handleUnaryCall,
  logVerbosity,
  Server,
  ServerCredentials,
  type ServerWritableStream,
  type ServiceDefinition,
  type StatusObject,
  setLogVerbosity,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import {
  CONTROL_IDLE_MS,
  CONTROL_REQUEST_MAX_BYTES,
  CONTROL_STREAMS_MAX,
  PROGRESS_INTERVAL_MS,
} from '../limits.js';
import { type ControlBackend, ControlError, type ControlErrorKind, type ProgressSink } from './backend.js';
import { ControlListener } from './listener.js';
import {
  type ExpectationsRequest,
  FLOW_TABLES,
  type FlowBatch,
  type FlowsRequest,
  type FlushReport,
  LOG_LEVELS,
  RESYNC_KINDS,
  type ReadyReport,
  type ReloadReport,
  type ResyncReport,
  ROLES,
  type StatusReport,
} from './messages.js';
import { loadControlMethods, type Update } from './service.js';
import { claimSocketPath } from './socket-path.js';

/** Counts by reason, and is told of an error that the backend did not foresee. */
export interface ControlServerOptions {
  /** Mode of the socket file: 0o660 lets its group in. */
  mode?: number;
  count?: (reason: string) => void;
  onError?: (call: string, error: unknown) => void;
}

const STATUS_OF: Record<ControlErrorKind, number> = {
  invalid: status.INVALID_ARGUMENT,
  refused: status.FAILED_PRECONDITION,
  failed: status.ABORTED,
  unreachable: status.UNAVAILABLE,
};
/** Error texts travel in an HTTP/2 header: longer ones would fail the call in a worse way. Characters. */
const ERROR_TEXT_MAX = 1000;

/** The control service on a UNIX socket, in front of the daemon's backend. */
export class ControlServer {
  readonly path: string;
  readonly #server: Server;
  readonly #listener: ControlListener;
  readonly #backend: ControlBackend;
  readonly #options: ControlServerOptions;
  #inode = 0;

  private constructor(path: string, backend: ControlBackend, options: ControlServerOptions) {
    this.path = path;
    this.#backend = backend;
    this.#options = options;
    // Its own lines on stderr say nothing that the errors here do not.
    setLogVerbosity(logVerbosity.NONE);
    this.#server = new Server({
      'grpc.max_receive_message_length': CONTROL_REQUEST_MAX_BYTES,
      'grpc.max_concurrent_streams': CONTROL_STREAMS_MAX,
      'grpc.max_connection_idle_ms': CONTROL_IDLE_MS,
    });
    this.#server.addService(loadControlMethods() as unknown as ServiceDefinition, this.#implementation());
    const http2 = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
    this.#listener = new ControlListener({
      onConnection: (socket) => http2.injectConnection(socket),
      count: (reason) => options.count?.(reason),
    });
  }

  /** Serves `backend` on the socket `path`. Throws ControlError if the path is taken or cannot be made. */
  static async listen(
    path: string,
    backend: ControlBackend,
    options: ControlServerOptions = {},
  ): Promise<ControlServer> {
    await claimSocketPath(path);
    const server = new ControlServer(path, backend, options);
    await server.#bind(options.mode ?? 0o660);
    return server;
  }

  /** Ends open calls and removes the socket file. */
  close(): void {
    this.#listener.close();
    this.#server.forceShutdown();
    // libuv removes the file when the listener closes, if only at its next turn: a process that exits now leaves it.
    if (statSync(this.path, { throwIfNoEntry: false })?.ino === this.#inode) unlinkSync(this.path);
  }

  async #bind(mode: number): Promise<void> {
    // The mask and not only a chmod afterwards: between bind and chmod anybody could have connected.
    const mask = process.umask(0o777 & ~mode);
    try {
      // libuv calls a missing directory EACCES.
      accessSync(dirname(this.path), constants.W_OK);
      await this.#listener.listen(this.path);
      chmodSync(this.path, mode);
      this.#inode = statSync(this.path).ino;
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException;
      const reason = code ?? message.split('\n')[0];
      const hint = 'create its directory and make it writable, or choose another control.socket';
      throw new ControlError('failed', `cannot listen on ${this.path} (${reason}): ${hint}`, { cause });
    } finally {
      process.umask(mask);
    }
  }

  #implementation(): UntypedServiceImplementation {
    const backend = this.#backend;
    return {
      Status: this.#short<object, StatusReport>('Status', () => backend.status()),
      Failover: this.#long<{ role: string }, object>('Failover', ({ role }, progress, signal) =>
        backend.failover(oneOf('role', role, ROLES), progress, signal),
      ),
      Commit: this.#long('Commit', (_, progress, signal) => backend.commit(progress, signal)),
      Purge: this.#long('Purge', (_, progress, signal) => backend.purge(progress, signal)),
      Drill: this.#long('Drill', (_, progress, signal) => backend.drill(progress, signal)),
      Verify: this.#long('Verify', (_, progress, signal) => backend.verify(progress, signal)),
      Resync: this.#short<{ kind: string }, ResyncReport>('Resync', ({ kind }) =>
        backend.resync(oneOf('kind', kind, RESYNC_KINDS)),
      ),
      Flush: this.#short<{ table: string }, FlushReport>('Flush', ({ table }) =>
        backend.flush(oneOf('table', table, FLOW_TABLES)),
      ),
      ListFlows: this.#streaming<FlowsRequest, FlowBatch>('ListFlows', async (call, signal) => {
        await backend.flows(checkedRequest(call.request), (batch) => send(call, batch), signal);
      }),
      CountFlows: this.#short<FlowsRequest, { count: number }>('CountFlows', async (request, signal) => ({
        count: await backend.countFlows(checkedRequest(request), signal),
      })),
      ListExpectations: this.#streaming<ExpectationsRequest, FlowBatch>(
        'ListExpectations',
        async (call, signal) => {
          const { table, node } = call.request;
          const request = { table: oneOf('table', table, FLOW_TABLES), node };
          await backend.expectations(request, (batch) => send(call, batch), signal);
        },
      ),
      SetLogLevel: this.#short<{ level: string }, object>('SetLogLevel', ({ level }) => {
        backend.setLogLevel(oneOf('level', level, LOG_LEVELS));
        return {};
      }),
      Reload: this.#short<object, ReloadReport>('Reload', () => backend.reload()),
      Ready: this.#short<{ isChecked: boolean }, ReadyReport>('Ready', ({ isChecked }) =>
        backend.ready(isChecked),
      ),
    };
  }

  #short<Request, Reply>(
    name: string,
    answer: (request: Request, signal: AbortSignal) => Reply | Promise<Reply>,
  ): handleUnaryCall<Request, Reply> {
    return async (call, callback) => {
      const gone = new AbortController();
      call.once('cancelled', () => gone.abort());
      try {
        callback(null, await answer(call.request, gone.signal));
      } catch (error) {
        callback(this.#statusOf(name, error));
      }
    };
  }

  #long<Request, Report>(
    name: string,
    run: (request: Request, progress: ProgressSink, signal: AbortSignal) => Promise<Report>,
  ): handleServerStreamingCall<Request, Update<Report>> {
    return this.#streaming<Request, Update<Report>>(name, async (call, signal) => {
      let phase = '';
      let sentAt = 0;
      const progress: ProgressSink = (now) => {
        const time = performance.now();
        if (signal.aborted || (now.phase === phase && time - sentAt < PROGRESS_INTERVAL_MS)) return;
        phase = now.phase;
        sentAt = time;
        call.write({ progress: now });
      };
      const report = await run(call.request, progress, signal);
      await send(call, { report });
    });
  }

  #streaming<Request, Reply>(
    name: string,
    run: (call: ServerWritableStream<Request, Reply>, signal: AbortSignal) => Promise<void>,
  ): handleServerStreamingCall<Request, Reply> {
    return async (call) => {
      const gone = new AbortController();
      call.once('cancelled', () => gone.abort());
      call.on('error', () => gone.abort());
      try {
        await run(call, gone.signal);
        call.end();
      } catch (error) {
        if (gone.signal.aborted) this.#options.count?.('control.client-gone');
        else call.emit('error', this.#statusOf(name, error));
      }
    };
  }

  #statusOf(call: string, error: unknown): Partial<StatusObject> {
    const text = error instanceof Error ? error.message : String(error);
    const details = text.slice(0, ERROR_TEXT_MAX);
    if (error instanceof ControlError) {
      this.#options.count?.(`control.${error.kind}`);
      return { code: STATUS_OF[error.kind], details };
    }
    this.#options.count?.('control.internal-error');
    this.#options.onError?.(call, error);
    return { code: status.INTERNAL, details };
  }
}

function oneOf<Word extends string>(what: string, value: string, words: readonly Word[]): Word {
  const word = words.find((known) => known === value);
  if (word === undefined) {
    throw new ControlError(
      'invalid',
      `${what} ${JSON.stringify(value.slice(0, 40))} is not one of ${words.join(', ')}`,
    );
  }
  return word;
}

function checkedRequest(request: FlowsRequest): FlowsRequest {
  const filter = request.filter ?? {};
  if (filter.family !== undefined) oneOf('family', filter.family, ['ipv4', 'ipv6']);
  const where = request.where === undefined || request.where === '' ? {} : { where: request.where };
  return { table: oneOf('table', request.table, FLOW_TABLES), node: request.node, filter, ...where };
}

/** Writes a message and waits while the client's side is full. Throws when the client went away. */
async function send<Request, Reply>(
  call: ServerWritableStream<Request, Reply>,
  message: Reply,
): Promise<void> {
  if (call.cancelled) throw new ControlError('unreachable', 'the client went away');
  if (call.write(message)) return;
  await new Promise<void>((resolve, reject) => {
    const settle = () => {
      call.off('drain', settle);
      call.off('cancelled', settle);
      if (call.cancelled) reject(new ControlError('unreachable', 'the client went away'));
      else resolve();
    };
    call.on('drain', settle);
    call.on('cancelled', settle);
  });
}
