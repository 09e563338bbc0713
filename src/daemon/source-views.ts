import type { SourceView } from '../failover/ports.js';
import { LEVEL_ROOT } from '../table/digests.js';
import type { Core } from './core.js';

/** Every other node as a promote sees it: peers, and former incarnations whose kernel is gone. */
export function sourceViews({ replicator, table }: Core): SourceView[] {
  const flowsOf = (owner: number) => {
    table.digests.sum(owner, LEVEL_ROOT, 0);
    return table.digests.count;
  };
  const peers = replicator.peers().map((p) => ({
    node: p.node,
    incarnation: p.incarnation,
    owner: p.owner,
    role: p.role,
    primaryTerm: p.primaryTerm,
    isAbsorbed: !p.wasPrimary,
    isAlive: p.alive,
    isProven: p.myVerdict === 'proven',
    wholeUpTo: p.wholeUpTo,
    flows: flowsOf(p.owner),
    isReady: p.mirrorReady,
    yields: p.yields,
    lends: p.lends,
    takenAt: p.takenAt,
    bootId: p.bootId,
  }));
  const formers = replicator.formers().map((p) => ({
    node: p.node,
    incarnation: p.incarnation,
    owner: p.owner,
    role: 'primary' as const,
    primaryTerm: p.term,
    isAbsorbed: false,
    isAlive: false,
    isProven: true,
    wholeUpTo: p.appliedSequence,
    flows: flowsOf(p.owner),
    isReady: false,
    yields: 0,
    lends: false,
    takenAt: Number.NEGATIVE_INFINITY,
    bootId: '',
  }));
  return [...peers, ...formers];
}
