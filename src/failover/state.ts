/** What a node must remember across a crash of its daemon: keepalived does not repeat what it said. */
import type { Role } from './ports.js';
import { isRole, isTerm } from './roles.js';

/** A source of a promote that is not finished. */
export interface PersistedSource {
  readonly node: string;
  /** Incarnation, 32 hex digits. */
  readonly incarnation: string;
}

/** Written before the first kernel write of a promote, and again when it is done. */
export interface PersistedState {
  readonly role: Role;
  readonly term: number;
  /** The kernel's boot id: after a reboot the conntrack table is empty, and the role is not restored. */
  readonly bootId: string;
  /** Sources of a promote that had begun; empty when it was finished. */
  readonly sources: readonly PersistedSource[];
  /** A backup's last term as primary, while nobody has taken that tenure over; absent: there is none. */
  readonly openTenure?: number;
  /** Flows that such a promote had to create, and those that the kernel had when it began: what is missing after a crash. */
  readonly toCreate?: number;
  readonly kernelFlows?: number;
}

/** A promote that did not come to its end. */
export type Unfinished = Pick<PersistedState, 'sources' | 'toCreate' | 'kernelFlows'>;

/** Only that of a state: the term that stands beside it is of the time of that promote, and is written never again. */
export function unfinishedOf({ sources, toCreate, kernelFlows }: PersistedState): Unfinished {
  return {
    sources,
    ...(toCreate === undefined ? {} : { toCreate }),
    ...(kernelFlows === undefined ? {} : { kernelFlows }),
  };
}

const VERSION = 1;
const SOURCES_MAX = 256;

/** The state as text (JSON, one line). */
export function encodeState(state: PersistedState): string {
  return `${JSON.stringify({ version: VERSION, ...state })}\n`;
}

/** The state in `text`, or why it is none; a damaged file must never stop a daemon. */
export function decodeState(text: string): PersistedState | { readonly reason: string } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { reason: 'not JSON' };
  }
  if (typeof value !== 'object' || value === null) return { reason: 'not an object' };
  const { version, role, term, bootId, sources, openTenure, toCreate, kernelFlows } = value as Record<
    string,
    unknown
  >;
  if (version !== VERSION) return { reason: `version ${String(version)}, want ${VERSION}` };
  if (!isRole(role)) return { reason: 'role is none of primary, backup, fault' };
  if (typeof term !== 'number' || !isTerm(term)) return { reason: 'term is not a whole number' };
  if (typeof bootId !== 'string') return { reason: 'bootId is missing' };
  if (!Array.isArray(sources) || sources.length > SOURCES_MAX || !sources.every(isSource)) {
    return { reason: 'sources is not a list of nodes and incarnations' };
  }
  return {
    role,
    term,
    bootId,
    sources: sources.map(({ node, incarnation }) => ({ node, incarnation })),
    ...(isCount(openTenure) && openTenure > 0 ? { openTenure } : {}),
    ...(isCount(toCreate) ? { toCreate } : {}),
    ...(isCount(kernelFlows) ? { kernelFlows } : {}),
  };
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

function isSource(value: unknown): value is PersistedSource {
  if (typeof value !== 'object' || value === null) return false;
  const { node, incarnation } = value as Record<string, unknown>;
  return typeof node === 'string' && typeof incarnation === 'string' && /^[0-9a-f]{32}$/.test(incarnation);
}

/** An incarnation as hex text. */
export function incarnationText(incarnation: Uint8Array): string {
  let text = '';
  for (const byte of incarnation) text += byte.toString(16).padStart(2, '0');
  return text;
}
