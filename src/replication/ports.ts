/** What the protocol core needs, and what it shows: the only doors of `replication/`. */
import type { Counters } from '../flow/counters.js';
import type { Log } from '../flow/log.js';
import type { Memory } from '../flow/record.js';
import type { FlowTable } from '../table/flow-table.js';
import type { Cipher } from '../wire/cipher.js';

export type Role = 'primary' | 'backup' | 'fault';
/** Roles by their number on the wire; append-only. */
export const ROLES: readonly Role[] = ['backup', 'primary', 'fault'];
/**
 * In place of a role in a ROLE op: none, but the term of a tenure of the sender that nobody has taken over yet; 0: its
 * last one was taken over.
 */
export const OPEN_TENURE = 3;

export type Verdict = 'unknown' | 'suspect' | 'proven' | 'diverged';
/** Verdicts by their number on the wire; append-only. */
export const VERDICTS: readonly Verdict[] = ['unknown', 'suspect', 'proven', 'diverged'];

/** reliable: nothing is lost; refresh: every scope once a cycle; best-effort: what arrives arrives. */
export type Mode = 'reliable' | 'refresh' | 'best-effort';
/** Modes by their number on the wire; append-only. */
export const MODES: readonly Mode[] = ['reliable', 'refresh', 'best-effort'];

/**
 * What a DECLARE with seeds means.
 *
 * | stage | others move what they hold of a seed | its tenure is over         | a seed that lives                     |
 * |-------|--------------------------------------|----------------------------|---------------------------------------|
 * | whole | yes                                  | yes                        | gives what did not change             |
 * | begun | yes                                  | no: late ops may follow    | notes the cut, and waits for "done"   |
 * | done  | no, they did at "begun"              | yes                        | gives what did not change             |
 * | asked | no                                   | no                         | gives what did not change; with cut 0 |
 * |       |                                      |                            | what it took from the asker itself    |
 */
export type Stage = 'whole' | 'begun' | 'done' | 'asked';
/** Stages by their number on the wire; append-only. */
export const STAGES: readonly Stage[] = ['whole', 'begun', 'done', 'asked'];

/** A peer, as `status` shows it. */
export interface PeerStatus {
  node: string;
  incarnation: Uint8Array;
  /** Its owner number in the table. */
  owner: number;
  role: Role;
  term: number;
  alive: boolean;
  /** It answered this node's own nonce. Always true here: others are not listed. */
  proven: boolean;
  /** Last sequence of its stream that it told of, and the last one applied here. */
  sequence: number;
  receivedSequence: number;
  /** Up to where nothing of its stream is missing here. */
  wholeUpTo: number;
  /** Last sequence of this node's stream that it applied. */
  appliedSequence: number;
  /** What it says of its replica of this node, and at which sequence it found that. */
  verdict: Verdict;
  verdictSequence: number;
  /** What this node says of its replica of the peer. */
  myVerdict: Verdict;
  myVerdictSequence: number;
  /** Age of the oldest frame that it has not applied, milliseconds. */
  lagMs: number;
  /** Milliseconds since it was last heard. */
  silentMs: number;
  /** It is out of the window, because it did not advance. */
  isLagging: boolean;
  mirrorReady: boolean;
  bootId: string;
  /** It is or was primary, and no promote has absorbed that: a source of the next one. */
  wasPrimary: boolean;
  /** Term of its last known tenure as primary; 0: it was none. */
  primaryTerm: number;
  /** It holds flows of a former incarnation of this node, for this one to take over. */
  lends: boolean;
  /** Change stamp at which this node took it over in its own tenure; -Infinity: it did not. */
  takenAt: number;
  /** How often it said that it gave away flows of its own, as a DECLARE had asked of it. */
  yields: number;
  /** By link: since it was heard there, and since it heard this node there, as it says. Milliseconds, or SILENT_NEVER_MS. */
  links: { silentMs: number; hearsUsMs: number }[];
}

/** A setting that a peer's kernel has otherwise. */
export interface SettingDifference {
  node: string;
  name: string;
  mine: string;
  theirs: string;
}

/** A former incarnation whose slots are kept for a promote: it was primary, and its kernel is gone. */
export interface FormerStatus {
  node: string;
  incarnation: Uint8Array;
  owner: number;
  term: number;
  appliedSequence: number;
}

export type PeerEventType =
  | 'proven' // it answered our nonce: it is a peer now
  | 'replaced' // a new incarnation took its place
  | 'refused' // a second daemon with its name was refused
  | 'silent'
  | 'heard' // again
  | 'role'
  | 'in-sync' // its replica here was proven
  | 'suspect' // it no longer is
  | 'diverged'
  | 'declared' // it declared: its mirror is its image now
  | 'yielded'; // what it declared about this node's flows is done here

export interface PeerEvent {
  type: PeerEventType;
  node: string;
  owner: number;
}

export interface ReplicatorPorts {
  table: FlowTable;
  /** Monotonic milliseconds. */
  now(): number;
  /** In [0, 1). */
  random(): number;
  randomBytes(n: number): Uint8Array;
  /**
   * Sends `length` bytes on a link (its number, in the configuration's order), or on all (-1). The buffer stays as it
   * is until RING_FRAMES / 2 further frames were sent.
   */
  send(frame: Uint8Array, length: number, link: number): void;
  /** Settings of this node's kernel that should agree in the cluster: (name, text), at most SETTINGS_MAX of 64 bytes. */
  settings?(): readonly (readonly [name: string, text: string])[];
  /** Seals and opens frames; without it they go unsealed, and sealed ones are refused. */
  cipher?: Cipher;
  /** What is to be replicated of what changes in a flow's life: state, status, mark, age. Absent: everything. */
  passes?(m: Memory, at: number, slot: number): boolean;
  /** The next own slot whose idle class is to be told, when there is nothing else to say; -1: none. */
  nextIdle?(): number;
  counters: Counters;
  log: Log;
  onPeer(event: PeerEvent): void;
  /** A peer's word about a flow has changed, in this slot; only where the kernel follows (hot standby). */
  onReplica?(slot: number): void;
  /** A peer speaks of a flow that is own here and stays so: its record stands in `shadow`. */
  onConflict(slot: number, shadow: number): void;
}

export interface ReplicatorOptions {
  node: string;
  cluster: string;
  /** 16 random bytes, new for every run of the daemon. */
  incarnation: Uint8Array;
  bootId: string;
  /** Smallest MTU of the links, bytes. */
  mtu: number;
  /** How many links there are; 1 unless told otherwise. */
  links?: number;
  /** The smallest receive buffer of the links, bytes as the kernel counts them. */
  receiveBufferBytes?: number;
  mode?: Mode;
}
