/**
 * What travels over the control socket, as plain objects: the shapes of proto/conntwin.proto after decoding, and of
 * `--json` output. Counts are plain numbers; digests and incarnations are lower-case hex text.
 */

export const ROLES = ['primary', 'backup', 'fault'] as const;
export type Role = (typeof ROLES)[number];
/** conntrackd's -R (kernel: read the kernel again), -n (request: ask the peers) and -B (send: tell the peers). */
export const RESYNC_KINDS = ['kernel', 'request', 'send'] as const;
export type ResyncKind = (typeof RESYNC_KINDS)[number];
/** kernel: what the kernel has; internal: the mirror; external: the replicas. */
export const FLOW_TABLES = ['kernel', 'internal', 'external'] as const;
export type FlowTableName = (typeof FLOW_TABLES)[number];
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Another node as this one knows it. */
export interface PeerReport {
  node: string;
  /** Empty until the peer told it. */
  role: Role | '';
  term: number;
  incarnation: string;
  alive: boolean;
  /** Its identity was proven by our nonce; nothing else is believed. */
  proven: boolean;
  mirrorReady: boolean;
  /** Last sequence of its stream that it named. */
  sequence: number;
  /** What it has applied of our stream. */
  appliedSequence: number;
  lagMs: number;
  /** What it says of its replica of us: proven, suspect, diverged; empty when it said nothing. */
  verdict: string;
}

/** One peer's mirror as it stands here. */
export interface ReplicaReport {
  node: string;
  incarnation: string;
  flows: number;
  expectations: number;
  digest: string;
  /** What we have applied of its stream. */
  sequence: number;
  /** Proven equal to its owner's image at `sequence`. */
  inSync: boolean;
  /** Of those flows, how many this node's kernel has. */
  held: number;
}

/** The outcome of a promote, or of a commit; of a drill, what it would be. */
export interface PromoteReport {
  /** The sum of committed, kept, updated, replaced and rejected. */
  total: number;
  committed: number;
  kept: number;
  updated: number;
  replaced: number;
  /** Sum of `rejectedBy`. */
  rejected: number;
  rejectedBy: Record<string, number>;
  /** The first ten of them, as `conntrack -L` prints a flow. */
  rejectedFlows: { reason: string; flow: string }[];
  /** Created without their master, which is gone; without their helper, which this kernel does not have. */
  withoutMaster: number;
  withoutHelper: number;
  expectations: ExpectationsReport;
  durationMs: number;
  flowsPerSecond: number;
  /** Longest time that the work held the daemon's event loop at a stretch. */
  longestPauseMs: number;
  /** Whose flows were committed. */
  sources: string[];
  sourceDetails: SourceReport[];
  /** Milliseconds since 1970; 0 while unknown. */
  endedAtMs: number;
}

/** What became of the expectations. */
export interface ExpectationsReport {
  total: number;
  committed: number;
  kept: number;
  /** Sum of `rejectedBy`. */
  rejected: number;
  rejectedBy: Record<string, number>;
}

/** A node whose flows are committed, as it was when that began. */
export interface SourceReport {
  node: string;
  incarnation: string;
  /** Of its last known tenure as primary; 0: it never was. */
  term: number;
  flows: number;
  expectations: number;
  proven: boolean;
  alive: boolean;
}

/** One sync link, with its counters since the daemon started. */
export interface LinkReport {
  interface: string;
  address: string;
  /** Multicast group; empty on a unicast link, which has `peers`. */
  group: string;
  peers: string[];
  port: number;
  mtu: number;
  isUp: boolean;
  /** It carries the data now; heartbeats go on all links. */
  isData: boolean;
  /** Errno name of why the last frame was not sent; empty when it was. */
  lastError: string;
  framesSent: number;
  framesReceived: number;
  bytesSent: number;
  bytesReceived: number;
  sendErrors: number;
  /** Times that it was opened anew. */
  reopened: number;
  /** Every live peer on this link. */
  heard: LinkHeard[];
}

/** One peer on one link. Milliseconds; -1: not for a minute, or never. */
export interface LinkHeard {
  node: string;
  /** Since it was heard there. */
  silentMs: number;
  /** Since it heard this node there, by its last word. */
  hearsUsMs: number;
}

/** A setting that a peer's kernel has otherwise. */
export interface SettingReport {
  node: string;
  name: string;
  mine: string;
  theirs: string;
}

/** How this node stands by while it is no primary, and how far its kernel is behind the primary. */
export interface StandbyReport {
  /** cold: the kernel gets the flows at a promote; hot: it has them all along. */
  mode: 'cold' | 'hot';
  /** The node that the kernel follows; empty: none, or cold. */
  source: string;
  /** Age of the oldest change that the kernel has not got; while its table is full, since when. Milliseconds. */
  lagMs: number;
  /** Changes that wait. */
  waiting: number;
  /** Flows of the source that the kernel has. */
  held: number;
  created: number;
  updated: number;
  replaced: number;
  deleted: number;
  /** Flows that ended here by themselves, and were created again. */
  reinjected: number;
  refused: number;
  /** The kernel's table is full, and nothing is created. */
  isFull: boolean;
}

/** What a purge did: held flows deleted from this kernel, and why others stayed. */
export interface PurgeReport {
  total: number;
  purged: number;
  /** local, touched, refreshed, new, ended, refused: see `conntwin purge --help`. */
  skippedBy: Record<string, number>;
  durationMs: number;
  /** Milliseconds since 1970. */
  endedAtMs: number;
  isByHand: boolean;
  /** It was cancelled, and left what it had not reached as it was. */
  isCancelled: boolean;
}

/** Purges of this node. */
export interface PurgeStatus {
  isRunning: boolean;
  /** Flows purged since the daemon started. */
  purged: number;
  last: PurgeReport | null;
}

/** The audit: mirror against own kernel. */
export interface AuditReport {
  isRunning: boolean;
  /** Why the running or last one was started: start, loss, background, verify, promote. */
  reason: string;
  /** Runs that ended since the start, and how many of them found an event lost meanwhile. */
  runs: number;
  unclean: number;
  /** Slots that the audits put right since the start. */
  repaired: number;
  lastDurationMs: number;
}

/** keepalived's notify FIFO, as this node has it open. */
export interface VrrpReport {
  fifo: string;
  /** The group or instance that is followed; empty until one was heard. */
  name: string;
  /** The last state that it said: MASTER, BACKUP, FAULT, STOP, DELETED; empty: none since the start. */
  state: string;
  /** Some other process, which is keepalived, has the FIFO open. */
  isHeld: boolean;
  /** States that were followed since the start. */
  changes: number;
}

/** The gate that a promote raises while its commit runs. */
export interface GateReport {
  /** none: not configured. failed: it could not be raised, or removed, the last time; `problem` says why. */
  state: 'none' | 'ready' | 'raised' | 'failed';
  /** Times that it was raised since the start. */
  raised: number;
  /** Packets that it dropped the last time, and how long it was up. */
  dropped: number;
  lastDurationMs: number;
  problem: string;
}

/** `conntwin ready`: may this node take over now without a loss? */
export interface ReadyReport {
  isReady: boolean;
  /** Why not, in sentences. */
  reasons: string[];
  /** 0 ready, 1 not. */
  exitCode: number;
}

/** `conntwin status`. */
export interface StatusReport {
  node: string;
  cluster: string;
  role: Role;
  term: number;
  incarnation: string;
  version: string;
  uptimeMs: number;
  /** joining: flows are still unclassified, peers are being asked; ready: all rules of a running node hold. */
  state: 'joining' | 'ready';
  /** The first dump is whole, so this node's stream may be believed. */
  mirrorReady: boolean;
  /** Something runs that changes the kernel: promote, demote, commit; else empty. */
  activity: string;
  kernel: { flows: number; maximum: number };
  mirror: { flows: number; expectations: number; digest: string; eventsLost: number; sequence: number };
  table: { slots: number; bytes: number };
  peers: PeerReport[];
  replicas: ReplicaReport[];
  links: LinkReport[];
  audit: AuditReport;
  lastPromote: PromoteReport | null;
  /** The last time that a former primary stepped back, and what only it had was taken over. */
  lastAbsorb: PromoteReport | null;
  /** Nodes that are primary beside this one, for longer than a planned switch takes. */
  splitBrain: string[];
  /** How far the activity is; null at rest. */
  progress: Progress | null;
  /** What an operator should know now, in sentences: split brain, unsealed link, a diverged replica. */
  warnings: string[];
  counters: Record<string, number>;
  /** The longest that a timer of the daemon was late since it was ready, whoever had the CPU meanwhile. Milliseconds. */
  loopMaxPauseMs: number;
  /** The longest that the daemon can have held its event loop itself: more than that it only waited for a CPU. Milliseconds. */
  loopMaxHeldMs: number;
  /** Id of the key that frames are sealed with; 0: they are not sealed. */
  sendKeyId: number;
  /** reliable, refresh or best-effort. */
  mode: string;
  /** Settings of the peers' kernels that should be this one's. */
  settingsDiffering: SettingReport[];
  /** Records of peers that were refused and are kept to look at; at most ten, the counters have all. */
  quarantined: number;
  /** Null where the configuration names no FIFO. */
  vrrp: VrrpReport | null;
  ready: ReadyReport;
  gate: GateReport;
  standby: StandbyReport;
  purge: PurgeStatus;
}

/** How far a long call is. `total` 0: not known. */
export interface Progress {
  phase: string;
  done: number;
  total: number;
}

/**
 * `conntwin failover` and `conntwin commit`; and `conntwin drill`, where the role is the one that stays, the term the one
 * that a promote would take, and its duration an estimate.
 */
export interface FailoverReport {
  role: Role;
  term: number;
  /** Null when nothing was to be committed (backup, fault). */
  promote: PromoteReport | null;
  /** 0, or 3: done, but from a suspect, silent or missing source. */
  exitCode: number;
  /** Why the exit code is not 0, in sentences. */
  reasons: string[];
}

/** A flow on which kernel and mirror do not agree. */
export interface VerifyDifference {
  /** missing: the kernel has it, the mirror does not; extra: the other way round; changed: durable fields differ. */
  kind: 'missing' | 'extra' | 'changed';
  flow: string;
}

/** `conntwin verify`. */
export interface VerifyReport {
  /** 0 all proven, 1 difference, 3 not provable. */
  exitCode: number;
  kernelFlows: number;
  mirrorFlows: number;
  differenceCount: number;
  /** The first ones only. */
  differences: VerifyDifference[];
  /** Every replica of us, as its holder judged it. */
  peers: { node: string; verdict: string; sequence: number; detail: string }[];
  reasons: string[];
  durationMs: number;
}

/** `conntwin resync`: what was started or done, in one sentence. */
export interface ResyncReport {
  message: string;
  exitCode: number;
}

/** `conntwin flush`. */
export interface FlushReport {
  flows: number;
  message: string;
}

/** SIGHUP, or the API's Reload. */
export interface ReloadReport {
  changed: string[];
  /** Settings that differ and take effect only by a restart. */
  needsRestart: string[];
}

/**
 * Which flows are meant: the FilterOptions of src/flow/filter.ts, which says what each word may be. What is absent
 * does not matter; all given conditions hold at once.
 */
export interface FlowFilterSpec {
  family?: 'ipv4' | 'ipv6';
  protocol?: string;
  source?: string;
  destination?: string;
  replySource?: string;
  replyDestination?: string;
  sourcePort?: number;
  destinationPort?: number;
  replySourcePort?: number;
  replyDestinationPort?: number;
  mark?: string;
  zone?: number;
  state?: string;
  status?: string[];
}

/** Expectations of one table, as a FlowsRequest. */
export interface ExpectationsRequest {
  table: FlowTableName;
  node: string;
}

/** Flows of one table; `node` chooses one peer's replica of `external` (empty: all of them). */
export interface FlowsRequest {
  table: FlowTableName;
  node: string;
  filter: FlowFilterSpec;
  /** An expression (src/flow/where) that must hold as well. */
  where?: string;
}

/** Some flows or expectations of a listing. */
export interface FlowBatch {
  /** Packed records, back to back. */
  records: Uint8Array;
  /** Whose they are, a byte for each: OWNER_* in the low two bits, above them the peer's number in `nodes`. */
  owners: Uint8Array;
  nodes: string[];
}
