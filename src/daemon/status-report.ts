/** `conntwin status`: what a core and its links are doing, read in one go. */
import type { LinkReport, PeerReport, ReplicaReport, StatusReport } from '../control/messages.js';
import { incarnationText } from '../failover/state.js';
import type { CounterMap } from '../flow/counters.js';
import type { PeerStatus } from '../replication/ports.js';
import { LEVEL_ROOT } from '../table/digests.js';
import { OWNER_SELF } from '../table/slot-bits.js';
import type { Core } from './core.js';
import { PRIORITY_CHANGE } from './jobs.js';
import type { Operations } from './operations.js';

export interface StatusSources {
  readonly core: Core;
  readonly operations: Operations;
  readonly counters: CounterMap;
  readonly version: string;
  readonly startedAt: number;
  readonly kernelMaximum: () => number;
  readonly links: () => LinkReport[];
  readonly loopMaxPauseMs: () => number;
  readonly isSealed: boolean;
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
    activity: current !== undefined && current.priority === PRIORITY_CHANGE ? current.name : '',
    kernel: { flows: table.kernelCount, maximum: from.kernelMaximum() },
    mirror: {
      flows: table.countOf(OWNER_SELF),
      digest: digestText(core, OWNER_SELF),
      eventsLost: core.ports.kernel.eventsLost(),
      sequence: replicator.sequence,
    },
    table: { slots: table.count, bytes: table.recordBytes },
    peers: peers.map(peerReport),
    replicas: peers.map((p) => replicaReport(core, p)),
    links: from.links(),
    audit: {
      isRunning: audit !== undefined,
      reason: audits.reason,
      runs: audits.runs,
      unclean: audits.unclean,
      repaired: audits.repaired,
      lastDurationMs: Math.round(audits.lastDurationMs),
    },
    lastPromote: from.operations.lastPromote ?? null,
    warnings: warningsOf(from, peers),
    counters: Object.fromEntries([...from.counters.values].sort()),
    loopMaxPauseMs: Math.round(from.loopMaxPauseMs() * 10) / 10,
  };
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
    digest: digestText(core, p.owner),
    sequence: p.receivedSequence,
    inSync: p.myVerdict === 'proven',
    held: core.table.owners.kernelFlows(p.owner),
  };
}

function warningsOf(from: StatusSources, peers: readonly PeerStatus[]): string[] {
  const { core } = from;
  const warnings: string[] = [];
  if (!from.isSealed)
    warnings.push('the sync link is not sealed: whoever can send to it can change replicas');
  if (core.role === 'primary') {
    for (const p of peers) {
      if (p.alive && p.role === 'primary')
        warnings.push(`split brain: ${p.node} is primary too (term ${p.term})`);
    }
  }
  for (const p of peers) {
    if (!p.alive) warnings.push(`${p.node} was not heard for ${Math.round(p.silentMs / 1000)} s`);
    if (p.myVerdict === 'diverged')
      warnings.push(`the replica of ${p.node} does not converge: resync, and report it`);
    if (p.isLagging) warnings.push(`${p.node} does not keep up with this node's stream`);
  }
  for (const link of from.links()) if (!link.isUp) warnings.push(`link ${link.interface} cannot send`);
  return warnings;
}
