import type {
  ExpectationsRequest,
  FailoverReport,
  FlowBatch,
  FlowsRequest,
  FlowTableName,
  FlushReport,
  LogLevel,
  Progress,
  PurgeReport,
  ReadyReport,
  ReloadReport,
  ResyncKind,
  ResyncReport,
  Role,
  StatusReport,
  VerifyReport,
} from './messages.js';

/** Takes progress of a long call; cheap, so it may be called at every batch (the server thins it out). */
export type ProgressSink = (progress: Progress) => void;

/** Takes some rows of a listing; wait for the promise before the next batch, it is the reader's pace. */
export type BatchSink = (batch: FlowBatch) => Promise<void> | void;

/**
 * What the control service asks of the daemon. A refusal is a thrown ControlError; any other error is reported as
 * the daemon's fault. `signal` aborts when the client went away: a listing stops then, a promote must not.
 */
export interface ControlBackend {
  status(): StatusReport;
  failover(role: Role, progress: ProgressSink, signal: AbortSignal): Promise<FailoverReport>;
  resync(kind: ResyncKind): Promise<ResyncReport>;
  verify(progress: ProgressSink, signal: AbortSignal): Promise<VerifyReport>;
  commit(progress: ProgressSink, signal: AbortSignal): Promise<FailoverReport>;
  /** What a failover to primary would report; nothing is changed. */
  purge(progress: ProgressSink, signal: AbortSignal): Promise<PurgeReport>;
  drill(progress: ProgressSink, signal: AbortSignal): Promise<FailoverReport>;
  flush(table: FlowTableName): Promise<FlushReport>;
  /** Batches hold about FLOWS_PER_BATCH records; at most CONTROL_BATCH_MAX_BYTES bytes each. */
  flows(request: FlowsRequest, onBatch: BatchSink, signal: AbortSignal): Promise<{ count: number }>;
  /** As `flows`: packed expectations (src/flow/expectation.ts). */
  expectations(request: ExpectationsRequest, onBatch: BatchSink, signal: AbortSignal): Promise<void>;
  countFlows(request: FlowsRequest, signal: AbortSignal): Promise<number>;
  setLogLevel(level: LogLevel): void;
  reload(): Promise<ReloadReport>;
  /** `isChecked`: after a new look at what a takeover needs of the kernel. */
  ready(isChecked: boolean): Promise<ReadyReport>;
}

/** Why a control call did not happen: `invalid` the request is wrong, `refused` not now, `failed` it was tried. */
export type ControlErrorKind = 'invalid' | 'refused' | 'failed' | 'unreachable';

/** An error of a control call whose message is one line that says what to do. */
export class ControlError extends Error {
  override readonly name = 'ControlError';
  readonly kind: ControlErrorKind;

  constructor(kind: ControlErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}
