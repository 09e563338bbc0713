import type { BatchSink, ControlBackend, ProgressSink } from '../../../src/control/backend.js';
import { ControlError } from '../../../src/control/backend.js';
import type {
  FailoverReport,
  FlowsRequest,
  LogLevel,
  PromoteReport,
  PurgeReport,
  ResyncKind,
  Role,
  StatusReport,
  VerifyReport,
} from '../../../src/control/messages.js';

const PURGE: PurgeReport = {
  total: 35,
  purged: 30,
  skippedBy: { local: 2, refreshed: 3 },
  durationMs: 5200,
  endedAtMs: 1_700_000_000_000,
  isByHand: true,
  isCancelled: false,
};

const PROMOTE: PromoteReport = {
  total: 20_011,
  committed: 20_000,
  kept: 3,
  updated: 2,
  replaced: 1,
  rejected: 5,
  rejectedBy: { 'kernel-full': 4, 'reply-taken': 1 },
  rejectedFlows: [
    { reason: 'reply-taken', flow: 'tcp      6 300 ESTABLISHED src=10.1.0.1 dst=10.2.0.1 sport=1 dport=2' },
  ],
  withoutMaster: 6,
  withoutHelper: 7,
  expectations: { total: 10, committed: 7, kept: 1, rejected: 2, rejectedBy: { 'no-master': 2 } },
  durationMs: 61.5,
  flowsPerSecond: 325_382,
  longestPauseMs: 1.5,
  sources: ['fw2'],
  sourceDetails: [
    {
      node: 'fw2',
      incarnation: 'ffeeddccbbaa99887766554433221100',
      term: 1_700_000_000_000,
      flows: 20_011,
      expectations: 10,
      proven: true,
      alive: true,
    },
  ],
  endedAtMs: 1_700_000_000_000,
};

/** A status with every field set to something that is not its default. */
export function sampleStatus(): StatusReport {
  return {
    node: 'fw1',
    cluster: 'edge',
    role: 'backup',
    term: 1_700_000_000_001,
    incarnation: '00112233445566778899aabbccddeeff',
    version: '0.1.0',
    uptimeMs: 3_723_000,
    loopMaxPauseMs: 4.5,
    loopMaxHeldMs: 3.5,
    state: 'ready',
    mirrorReady: true,
    activity: 'commit',
    kernel: { flows: 12, maximum: 262_144 },
    mirror: { flows: 12, expectations: 3, digest: '89abcdef01234567', eventsLost: 7, sequence: 501 },
    table: { slots: 20_012, bytes: 2_400_000 },
    peers: [
      {
        node: 'fw2',
        role: 'primary',
        term: 1_700_000_000_000,
        incarnation: 'ffeeddccbbaa99887766554433221100',
        alive: true,
        proven: true,
        mirrorReady: true,
        sequence: 40_001,
        appliedSequence: 500,
        lagMs: 1.5,
        verdict: 'proven',
      },
    ],
    replicas: [
      {
        node: 'fw2',
        incarnation: 'ffeeddccbbaa99887766554433221100',
        flows: 20_000,
        expectations: 17,
        digest: '0123456789abcdef',
        sequence: 40_001,
        inSync: true,
        held: 4,
      },
    ],
    links: [
      {
        interface: 'sync',
        address: '10.9.0.1',
        group: '225.0.0.50',
        port: 3780,
        mtu: 1500,
        isUp: true,
        framesSent: 501,
        framesReceived: 40_001,
        bytesSent: 60_000,
        bytesReceived: 2_400_000,
        peers: [],
        isData: true,
        lastError: '',
        sendErrors: 2,
        reopened: 1,
        heard: [{ node: 'fw2', silentMs: 12, hearsUsMs: 30 }],
      },
    ],
    audit: {
      isRunning: true,
      reason: 'background',
      runs: 9,
      unclean: 1,
      repaired: 2,
      lastDurationMs: 33.25,
    },
    lastPromote: PROMOTE,
    ready: { isReady: true, reasons: [], exitCode: 0 },
    vrrp: { fifo: '/run/conntwin/vrrp.fifo', name: 'edge', state: 'MASTER', isHeld: true, changes: 3 },
    lastAbsorb: null,
    splitBrain: [],
    progress: { phase: 'commit', done: 3, total: 12 },
    warnings: ['the sync link is not sealed'],
    counters: { 'frame.truncated': 3, 'netlink.malformed': 1 },
    sendKeyId: 2,
    mode: 'reliable',
    settingsDiffering: [{ node: 'fw2', name: 'nf_conntrack_max', mine: '262144', theirs: '65536' }],
    quarantined: 1,
    gate: { state: 'ready', raised: 2, dropped: 12, lastDurationMs: 150, problem: '' },
    purge: { isRunning: false, purged: 30, last: PURGE },
    standby: {
      mode: 'hot',
      source: 'fw1',
      lagMs: 12,
      waiting: 3,
      held: 4,
      created: 5,
      updated: 6,
      replaced: 7,
      deleted: 8,
      reinjected: 9,
      refused: 10,
      isFull: false,
    },
  };
}

/** A backend that remembers what it was asked and answers with canned reports. */
export class FakeBackend implements ControlBackend {
  readonly asked: unknown[] = [];
  report: StatusReport = sampleStatus();
  failoverReport: FailoverReport = { role: 'primary', term: 9, promote: PROMOTE, exitCode: 0, reasons: [] };
  purgeReport: PurgeReport = PURGE;
  verifyReport: VerifyReport = {
    exitCode: 0,
    kernelFlows: 12,
    mirrorFlows: 12,
    differenceCount: 0,
    differences: [],
    peers: [{ node: 'fw2', verdict: 'proven', sequence: 501, detail: '' }],
    reasons: [],
    durationMs: 20,
  };
  /** Thrown by the next call. */
  error: unknown;
  batches: Uint8Array[] = [];
  /** Whose the flows of a batch are: the first is held for fw2, the second this node's own. */
  owners = Uint8Array.of(2, 1);
  batchesTaken = 0;
  wasAborted = false;
  /** Runs inside failover, commit and verify. */
  during: (progress: ProgressSink, signal: AbortSignal) => Promise<void> = async (progress) => {
    progress({ phase: 'dump', done: 1, total: 0 });
    progress({ phase: 'create', done: 500, total: 20_000 });
  };

  status(): StatusReport {
    this.#note('status');
    return this.report;
  }

  async failover(role: Role, progress: ProgressSink, signal: AbortSignal): Promise<FailoverReport> {
    this.#note(`failover ${role}`);
    await this.during(progress, signal);
    return this.failoverReport;
  }

  async commit(progress: ProgressSink, signal: AbortSignal): Promise<FailoverReport> {
    this.#note('commit');
    await this.during(progress, signal);
    return this.failoverReport;
  }

  async purge(progress: ProgressSink, signal: AbortSignal): Promise<PurgeReport> {
    this.#note('purge');
    await this.during(progress, signal);
    return this.purgeReport;
  }

  async drill(progress: ProgressSink, signal: AbortSignal): Promise<FailoverReport> {
    this.#note('drill');
    await this.during(progress, signal);
    return this.failoverReport;
  }

  async verify(progress: ProgressSink, signal: AbortSignal): Promise<VerifyReport> {
    this.#note('verify');
    await this.during(progress, signal);
    return this.verifyReport;
  }

  /** What a resync waits for. */
  reading: Promise<void> = Promise.resolve();

  async resync(kind: ResyncKind) {
    this.#note(`resync ${kind}`);
    await this.reading;
    return { message: `${kind} done`, exitCode: 0 };
  }

  async flush(table: string) {
    this.#note(`flush ${table}`);
    return { flows: 12, message: `${table} flushed` };
  }

  async expectations(request: object, onBatch: BatchSink) {
    this.#note(request);
    for (const records of this.batches) await onBatch({ records, owners: this.owners, nodes: ['fw2'] });
  }

  async flows(request: FlowsRequest, onBatch: BatchSink, signal: AbortSignal) {
    this.#note(request);
    signal.addEventListener('abort', () => {
      this.wasAborted = true;
    });
    for (const records of this.batches) {
      await onBatch({ records, owners: this.owners, nodes: ['fw2'] });
      this.batchesTaken++;
    }
    return { count: this.batches.length };
  }

  async ready(isChecked: boolean) {
    this.#note(`ready ${isChecked}`);
    return this.report.ready;
  }

  async countFlows(request: FlowsRequest) {
    this.#note(request);
    return 20_000;
  }

  setLogLevel(level: LogLevel): void {
    this.#note(`level ${level}`);
  }

  async reload() {
    this.#note('reload');
    return { changed: ['log'], needsRestart: ['links'] };
  }

  /** Refuses the next call as the daemon would. */
  refuse(message: string): void {
    this.error = new ControlError('refused', message);
  }

  #note(what: unknown): void {
    this.asked.push(what);
    if (this.error !== undefined) throw this.error;
  }
}
