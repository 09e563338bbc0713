/** What a promote was asked for, and what it came to. */
import type { FlowTable } from '../table/flow-table.js';
import type { CommitReport } from './commit-report.js';
import type { Role, SourceView } from './ports.js';
import { incarnationText, type PersistedSource, type Unfinished } from './state.js';

export interface PromoteOptions {
  readonly role: Role;
  readonly term: number;
  /** This node was primary at some time, in this run or before. */
  readonly wasPrimary: boolean;
  readonly wallClockMs: number;
  /** Sources of a promote that a crash cut short. */
  readonly resumed?: readonly PersistedSource[];
  /** These nodes' flows only: an absorb, or what a restart found of a promote that was cut short. */
  readonly only?: readonly string[];
  /** A primary that is promoted again takes nothing of this one, though it is dead (Heals.isStale). */
  isStale?(source: SourceView): boolean;
  /** What is left of a promote that was cut short when these nodes' flows are taken over: it stays written. */
  leaves?(nodes: readonly string[]): Unfinished;
}

/** One source, as it was when the promote began. */
export interface SourceReport {
  readonly node: string;
  readonly incarnation: string;
  readonly term: number;
  readonly flows: number;
  readonly expectations: number;
  readonly isProven: boolean;
  readonly isAlive: boolean;
}

export interface PromoteReport extends CommitReport {
  readonly term: number;
  readonly sources: readonly SourceReport[];
  durationMs: number;
  /** 0, or 3 with reasons. */
  exitCode: 0 | 3;
  reasons: readonly string[];
  /** The events of the commit's time were not all heard, and own writes never are: one paced audit is due. */
  needsAudit: boolean;
}

/** The source as it stands now, with what the table has of it. */
export function sourceReport(source: SourceView, table: FlowTable): SourceReport {
  return {
    node: source.node,
    incarnation: incarnationText(source.incarnation),
    term: source.primaryTerm,
    flows: table.countOf(source.owner),
    expectations: table.expectations.countOf(source.owner),
    isProven: source.isProven,
    isAlive: source.isAlive,
  };
}
