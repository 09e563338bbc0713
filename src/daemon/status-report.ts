/** `conntwin status`: what a core and its links are doing, read in one go. */
import type {
  GateReport,
  LinkHeard,
  LinkReport,
  PeerReport,
  PurgeStatus,
  ReplicaReport,
  StandbyReport,
  StatusReport,
} from '../control/messages.js';
import type { HotReport } from '../failover/hot-standby.js';
import { incarnationText } from '../failover/state.js';
import type { CounterMap } from '../flow/counters.js';
import { HOT_LAG_MAX_MS, PEER_SILENT_MS } from '../limits.js';
import type { PeerStatus } from '../replication/ports.js';
import { LEVEL_ROOT } from '../table/digests.js';
import { OWNER_SELF } from '../table/slot-bits.js';
import { SILENT_NEVER_MS } from '../wire/control-messages.js';
import type { Core } from './core.js';
import { PRIORITY_CHANGE } from './jobs.js';
import type { Operations } from './operations.js';
import { type Purger, purgeReport } from './purger.js';
import type { ReadyWatch } from './ready-watch.js';
import type { Vrrp } from './vrrp.js';

/** What a cold standby has to say of itself. */
const COLD: HotReport = {
  source: '',
  lagMs: 0,
  waiting: 0,
  held: 0,
  created: 0,
  updated: 0,
  replaced: 0,
  deleted: 0,
  reinjected: 0,
  refused: 0,
  isFull: false,
};

export interface StatusSources {
  readonly core: Core;
  readonly operations: Operations;
  readonly counters: CounterMap;
  readonly version: string;
  readonly startedAt: number;
  readonly kernelMaximum: () => number;
  /** `heard` is filled in here. */
  readonly links: () => LinkReport[];
  readonly loopMaxPauseMs: () => number;
  readonly loopMaxHeldMs: () => number;
  readonly gate: () => GateReport;
  /** 0: frames are not sealed. */
  readonly sendKeyId: () => number;
  /** Undefined: no FIFO is configured. */
  readonly vrrp: () => Vrrp | undefined;
  readonly ready: () => ReadyWatch;
  /** Where an interface is not as the configuration says. */
  readonly linkProblems: () => readonly string[];
  /** Why the log is not written. */
  readonly logProblem: () => string | undefined;
  /** Why the role is not remembered. */
  readonly stateProblem: () => string | undefined;
}

/** The sums of an owner's image as text: equal text on two nodes means equal flows. */
export function digestText(core: Core, owner: number): string {
  const { digests } = core.table;
  digests.sum(owner, LEVEL_ROOT, 0);
  const hex = (lane: number) => lane.toString(16).padStart(8, '0');
  return `${digests.count.toString(16)}-${hex(digests.hi)}${hex(digests.lo)}`;
}

export function statusReport(from: StatusSources): StatusReport {
  const { core } = from;
  const { replicator, table, options, audits, jobs } = core;
  const peers = replicator.peers();
  const audit = jobs.find('audit');
  const current = jobs.current;
  const isChanging = current !== undefined && current.priority === PRIORITY_CHANGE;
  const links = linkReports(from, peers);
  return {
    node: options.node,
    cluster: options.cluster,
    role: core.role,
    term: replicator.term,
    incarnation: incarnationText(options.incarnation),
    version: from.version,
    uptimeMs: Math.round(core.ports.clock() - from.startedAt),
    state: core.state,
    mirrorReady: replicator.isMirrorReady,
    activity: isChanging ? current.name : '',
    kernel: { flows: table.kernelCount, maximum: from.kernelMaximum() },
    mirror: {
      flows: table.countOf(OWNER_SELF),
      expectations: table.expectations.countOf(OWNER_SELF),
      digest: digestText(core, OWNER_SELF),
      eventsLost: core.ports.kernel.eventsLost(),
      sequence: replicator.sequence,
    },
    table: { slots: table.count, bytes: table.recordBytes },
    peers: peers.map(peerReport),
    replicas: peers.map((p) => replicaReport(core, p)),
    links,
    audit: {
      isRunning: audit !== undefined,
      reason: audits.reason,
      runs: audits.runs,
      unclean: audits.unclean,
      repaired: audits.repaired,
      lastDurationMs: Math.round(audits.lastDurationMs),
    },
    lastPromote: from.operations.lastPromote ?? null,
    lastAbsorb: core.roles.lastAbsorb ?? null,
    splitBrain: core.splitBrain.others.map(({ node }) => node),
    progress: isChanging ? current.progress() : null,
    warnings: warningsOf(from, peers, links),
    counters: Object.fromEntries([...from.counters.values].sort()),
    loopMaxPauseMs: Math.round(from.loopMaxPauseMs() * 10) / 10,
    loopMaxHeldMs: Math.round(from.loopMaxHeldMs() * 10) / 10,
    sendKeyId: from.sendKeyId(),
    mode: options.mode ?? 'reliable',
    settingsDiffering: replicator.settingsDiffering(),
    quarantined: replicator.quarantine.length,
    vrrp: from.vrrp()?.report() ?? null,
    ready: from.ready().report(),
    gate: from.gate(),
    standby: standbyReport(core),
    purge: purgeStatus(core.standby.purger),
  };
}

function purgeStatus({ isRunning, purged, last }: Purger): PurgeStatus {
  return { isRunning, purged, last: last === undefined ? null : purgeReport(last) };
}

function standbyReport({ standby, options }: Core): StandbyReport {
  const hot = standby.hot?.report ?? COLD;
  return { ...hot, mode: options.standby ?? 'cold', lagMs: Math.round(hot.lagMs) };
}

function linkReports(from: StatusSources, peers: readonly PeerStatus[]): LinkReport[] {
  const alive = peers.filter((p) => p.alive);
  return from.links().map((link, number) => ({
    ...link,
    heard: alive.map(({ node, links }) => heardOn(node, links[number])),
  }));
}

function heardOn(node: string, on: { silentMs: number; hearsUsMs: number }): LinkHeard {
  const shown = (ms: number) => (ms >= SILENT_NEVER_MS ? -1 : Math.round(ms));
  return { node, silentMs: shown(on.silentMs), hearsUsMs: shown(on.hearsUsMs) };
}

function peerReport(p: PeerStatus): PeerReport {
  return {
    node: p.node,
    role: p.role,
    term: p.term,
    incarnation: incarnationText(p.incarnation),
    alive: p.alive,
    proven: p.proven,
    mirrorReady: p.mirrorReady,
    sequence: p.sequence,
    appliedSequence: p.appliedSequence,
    lagMs: Math.round(p.lagMs),
    verdict: p.verdict,
  };
}

function replicaReport(core: Core, p: PeerStatus): ReplicaReport {
  return {
    node: p.node,
    incarnation: incarnationText(p.incarnation),
    flows: core.table.countOf(p.owner),
    expectations: core.table.expectations.countOf(p.owner),
    digest: digestText(core, p.owner),
    sequence: p.receivedSequence,
    inSync: p.myVerdict === 'proven',
    held: core.table.owners.kernelFlows(p.owner),
  };
}

function warningsOf(
  from: StatusSources,
  peers: readonly PeerStatus[],
  links: readonly LinkReport[],
): string[] {
  const { replicator } = from.core;
  const warnings: string[] = [];
  if (from.sendKeyId() === 0)
    warnings.push('the sync links are not sealed: whoever can send to them can change replicas');
  if (replicator.isNameInUse)
    warnings.push('another daemon uses the name of this node: give each node a name of its own');
  if (replicator.isLinkForeign)
    warnings.push('frames on the links cannot be opened: have all nodes the same keys?');
  if (replicator.otherCluster !== undefined)
    warnings.push(
      `frames of the cluster "${replicator.otherCluster}" come, this node is in "${from.core.options.cluster}": ` +
        'is node.cluster the same on all nodes?',
    );
  if (replicator.otherVersion !== undefined)
    warnings.push(
      `a node speaks version ${replicator.otherVersion}, which conntwin ${from.version} does not read: ` +
        'install the same release on all nodes',
    );
  for (const { node, term } of from.core.splitBrain.others)
    warnings.push(
      `split brain: ${node} is primary too (its term ${term}, here ${replicator.term}): ` +
        'run `conntwin failover backup` on the one that has no traffic',
    );
  warnings.push(...from.core.roles.unfinished.reasons());
  warnings.push(...hotWarnings(from.core));
  warnings.push(...(from.vrrp()?.warnings() ?? []), ...from.ready().warnings());
  for (const p of peers) warnings.push(...peerWarnings(p));
  for (const link of links) warnings.push(...linkWarnings(link));
  warnings.push(...from.linkProblems());
  for (const { node, name, mine, theirs } of replicator.settingsDiffering())
    warnings.push(`${name} is ${mine} here and ${theirs} on ${node}: make them equal`);
  const { problem } = from.gate();
  if (problem !== '') warnings.push(`the gate failed: ${problem}`);
  const logProblem = from.logProblem();
  if (logProblem !== undefined) warnings.push(`the log cannot be written (${logProblem}): make room for it`);
  const stateProblem = from.stateProblem();
  if (stateProblem !== undefined) warnings.push(`the role would be forgotten by a restart: ${stateProblem}`);
  const quarantined = replicator.quarantine.length;
  if (quarantined > 0)
    warnings.push(`${quarantined} records of peers were refused: see the counters quarantine.*`);
  return warnings;
}

/** What keeps a hot standby's kernel behind. */
function hotWarnings({ role, standby }: Core): string[] {
  if (standby.hot === undefined || role === 'primary') return [];
  const { isFull, lagMs, waiting } = standby.hot.report;
  if (isFull)
    return ['hot standby: the kernel table is full, flows are missing here: raise nf_conntrack_max'];
  if (lagMs < HOT_LAG_MAX_MS) return [];
  return [`hot standby: this kernel is ${Math.round(lagMs / 1000)} s behind, ${waiting} changes wait`];
}

function peerWarnings(p: PeerStatus): string[] {
  const warnings: string[] = [];
  if (!p.alive) warnings.push(`${p.node} was not heard for ${Math.round(p.silentMs / 1000)} s`);
  if (p.myVerdict === 'diverged')
    warnings.push(`the replica of ${p.node} does not converge: resync, and report it`);
  if (p.isLagging) warnings.push(`${p.node} does not keep up with this node's stream`);
  return warnings;
}

/** What is wrong with a link: it cannot send, or somebody is deaf on it who lives. */
function linkWarnings(link: LinkReport): string[] {
  const name = `link ${link.interface} (${link.address})`;
  if (!link.isUp) return [`${name} cannot send: ${link.lastError || 'not opened yet'}`];
  const warnings: string[] = [];
  for (const { node, silentMs, hearsUsMs } of link.heard) {
    const isHeard = silentMs >= 0 && silentMs <= PEER_SILENT_MS;
    const isHearing = hearsUsMs >= 0 && hearsUsMs <= PEER_SILENT_MS;
    if (!isHeard && !isHearing) warnings.push(`${name}: no contact with ${node}`);
    else if (!isHeard) warnings.push(`${name}: ${node} is not heard`);
    else if (!isHearing) warnings.push(`${name}: ${node} does not hear this node`);
  }
  return warnings;
}
