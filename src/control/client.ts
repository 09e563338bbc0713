import {
  Client,
  type ClientReadableStream,
  credentials,
  logVerbosity,
  Metadata,
  type MethodDefinition,
  type ServiceError,
  setLogVerbosity,
  status,
} from '@grpc/grpc-js';
import { CONTROL_CALL_MS, CONTROL_REPLY_MAX_BYTES, RESYNC_LOOK_MS } from '../limits.js';
import { type BatchSink, ControlError, type ControlErrorKind, type ProgressSink } from './backend.js';
import type {
  ExpectationsRequest,
  FailoverReport,
  FlowBatch,
  FlowsRequest,
  FlowTableName,
  FlushReport,
  LogLevel,
  PurgeReport,
  ReadyReport,
  ReloadReport,
  ResyncKind,
  ResyncReport,
  Role,
  StatusReport,
  VerifyReport,
} from './messages.js';
import { type ControlMethods, loadControlMethods, type Update } from './service.js';
import { probeSocket } from './socket-path.js';

const KIND_OF = new Map<number, ControlErrorKind>([
  [status.INVALID_ARGUMENT, 'invalid'],
  [status.FAILED_PRECONDITION, 'refused'],
]);

/** A connection to the daemon's control socket; every failure is a ControlError of one line. */
export class ControlClient {
  readonly #client: Client;
  readonly #methods: ControlMethods = loadControlMethods();
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
    setLogVerbosity(logVerbosity.NONE);
    this.#client = new Client(`unix:${path}`, credentials.createInsecure(), {
      'grpc.max_receive_message_length': CONTROL_REPLY_MAX_BYTES,
    });
  }

  /** Opens a client. Throws ControlError (`unreachable`) if no daemon serves the socket. */
  static async connect(path: string): Promise<ControlClient> {
    const errno = await probeSocket(path);
    if (errno !== undefined) throw new ControlError('unreachable', unreachable(path, errno));
    return new ControlClient(path);
  }

  close(): void {
    this.#client.close();
  }

  status(): Promise<StatusReport> {
    return this.#short(this.#methods.Status, {});
  }

  failover(role: Role, onProgress: ProgressSink): Promise<FailoverReport> {
    return this.#long(this.#methods.Failover, { role }, onProgress);
  }

  commit(onProgress: ProgressSink): Promise<FailoverReport> {
    return this.#long(this.#methods.Commit, {}, onProgress);
  }

  purge(onProgress: ProgressSink): Promise<PurgeReport> {
    return this.#long(this.#methods.Purge, {}, onProgress);
  }

  drill(onProgress: ProgressSink): Promise<FailoverReport> {
    return this.#long(this.#methods.Drill, {}, onProgress);
  }

  verify(onProgress: ProgressSink): Promise<VerifyReport> {
    return this.#long(this.#methods.Verify, {}, onProgress);
  }

  /**
   * Asks for tables to be brought in step. Reading a large kernel table takes longer than a call may: it is waited for
   * as long as the daemon goes on answering `status`, which tells how far it is.
   */
  async resync(kind: ResyncKind, onProgress: ProgressSink): Promise<ResyncReport> {
    const report = this.#short(this.#methods.Resync, { kind }, kind !== 'kernel');
    if (kind !== 'kernel') return report;
    const ended = new AbortController();
    const watched = this.#watch(onProgress, ended.signal);
    try {
      return await Promise.race([report, watched]);
    } finally {
      ended.abort();
      report.catch(() => undefined);
    }
  }

  /** Passes on how far the daemon's activity is; never ends but by the error of a daemon that does not answer. */
  #watch(onProgress: ProgressSink, ended: AbortSignal): Promise<never> {
    return new Promise((_, reject) => {
      const look = async (): Promise<void> => {
        const { progress } = await this.status();
        if (progress && !ended.aborted) onProgress(progress);
      };
      const timer = setInterval(() => look().catch(stop), RESYNC_LOOK_MS);
      const stop = (error: unknown): void => {
        clearInterval(timer);
        if (!ended.aborted) reject(error);
      };
      ended.addEventListener('abort', stop);
    });
  }

  flush(table: FlowTableName): Promise<FlushReport> {
    return this.#short(this.#methods.Flush, { table }, false);
  }

  /** Hands each batch of flows to the sink and waits for it. Returns when the listing is whole. */
  flows(request: FlowsRequest, onBatch: BatchSink): Promise<void> {
    return this.#batches(this.#stream(this.#methods.ListFlows, request), onBatch);
  }

  /** As `flows`: packed expectations. */
  expectations(request: ExpectationsRequest, onBatch: BatchSink): Promise<void> {
    return this.#batches(this.#stream(this.#methods.ListExpectations, request), onBatch);
  }

  async #batches(stream: ClientReadableStream<FlowBatch>, onBatch: BatchSink): Promise<void> {
    try {
      for await (const batch of stream as AsyncIterable<FlowBatch>) await onBatch(batch);
    } catch (error) {
      stream.cancel();
      throw this.#located(error);
    }
  }

  async countFlows(request: FlowsRequest): Promise<number> {
    return (await this.#short(this.#methods.CountFlows, request, false)).count;
  }

  async setLogLevel(level: LogLevel): Promise<void> {
    await this.#short(this.#methods.SetLogLevel, { level });
  }

  ready(isChecked: boolean): Promise<ReadyReport> {
    return this.#short(this.#methods.Ready, { isChecked });
  }

  reload(): Promise<ReloadReport> {
    return this.#short(this.#methods.Reload, {});
  }

  #short<Request, Reply>(
    method: MethodDefinition<Request, Reply>,
    request: Request,
    hasDeadline = true,
  ): Promise<Reply> {
    const { path, requestSerialize, responseDeserialize } = method;
    const options = hasDeadline ? { deadline: Date.now() + CONTROL_CALL_MS } : {};
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        new Metadata(),
        options,
        (error, reply) => (error || reply === undefined ? reject(this.#located(error)) : resolve(reply)),
      );
    });
  }

  async #long<Request, Report>(
    method: MethodDefinition<Request, Update<Report>>,
    request: Request,
    onProgress: ProgressSink,
  ): Promise<Report> {
    const stream = this.#stream(method, request);
    let report: Report | undefined;
    try {
      for await (const update of stream as AsyncIterable<Update<Report>>) {
        if (update.report) report = update.report;
        else if (update.progress) onProgress(update.progress);
      }
    } catch (error) {
      throw this.#located(error);
    }
    if (report === undefined) throw new ControlError('failed', 'the daemon ended the call without a report');
    return report;
  }

  #stream<Request, Reply>(
    method: MethodDefinition<Request, Reply>,
    request: Request,
  ): ClientReadableStream<Reply> {
    const { path, requestSerialize, responseDeserialize } = method;
    return this.#client.makeServerStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      new Metadata(),
    );
  }

  #located(error: unknown): unknown {
    const { code, details } = (error ?? {}) as Partial<ServiceError>;
    if (code === undefined || details === undefined) return error;
    if (code === status.UNAVAILABLE || code === status.CANCELLED) {
      const message = `the daemon on ${this.#path} ended the call: look at its log (journalctl -u conntwin)`;
      return new ControlError('unreachable', message, { cause: error });
    }
    if (code === status.DEADLINE_EXCEEDED) {
      const message = `the daemon on ${this.#path} does not answer within ${CONTROL_CALL_MS / 1000} s: look at its log`;
      return new ControlError('unreachable', message, { cause: error });
    }
    return new ControlError(KIND_OF.get(code) ?? 'failed', details, { cause: error });
  }
}

function unreachable(path: string, errno: string): string {
  if (errno === 'EACCES' || errno === 'EPERM') {
    return `no permission to use ${path}: run as root, or as a member of the socket's group`;
  }
  if (errno === 'ENOENT' || errno === 'ECONNREFUSED') {
    return `no daemon on ${path}: start it (systemctl start conntwin), or name its socket with --socket`;
  }
  return `cannot reach the daemon on ${path} (${errno}): name its socket with --socket`;
}
