/** Invariants 1, 2 and 3: replicas against what the harness recorded of their owners' streams, byte for byte. */

import {
  allocateMemory,
  lengthOf,
  type Memory,
  OFF_KEY,
  OFF_LENGTH,
  offParts,
} from '../../../src/flow/record.js';
import type { PeerStatus } from '../../../src/replication/ports.js';
import { SEGMENT_BITS } from '../../../src/wire/ops.js';
import type { DaemonRun } from './daemon-run.js';
import { durableText, keyText, showText } from './machine.js';
import { type StreamRecord, valueAt } from './stream-record.js';
import { Violation } from './violation.js';

/** Above this size not every verdict is checked in full, but only what the frames touched. Keys. */
const FULL_KEYS = 300;
const FULL_EVERY = 6;

/** What the harness knows of one replica. */
interface Pair {
  received: number;
  verdict: string;
  marks: number;
  /** Holes that the run has been told of: a MARK in one was never heard. */
  holes: number;
  /** Sequence at which the run began to take the stream: what is older counts as come. */
  readonly first: number;
  /** Flows in the scopes of runs that have holes, by the frame in which they end. */
  gapped: Gapped[];
  /** Frames beyond `received` that were handed over. */
  readonly delivered: Set<number>;
}

/** Frames of which it is remembered that they came: a run of ops is not longer. */
const KEPT_FRAMES = 64;

/** What stood in a scope before a run that has a hole was applied to it. */
interface Gapped {
  readonly frame: number;
  readonly from: number;
  readonly keys: readonly string[];
}

/** True if all frames of a run came; those before this pair was known count as come. */
function isWhole(pair: Pair, begin: number, end: number): boolean {
  for (let s = Math.max(begin, pair.first + 1); s <= end; s++) if (!pair.delivered.has(s)) return false;
  return true;
}

/** True if a frame in this range names the end of the key, sweeps it by a whole run, or gives flows another owner. */
function mayEnd(pair: Pair, stream: StreamRecord, key: string, from: number, to: number): boolean {
  const lo = stream.loOf(key);
  for (let s = from; s <= to; s++) {
    const { isDeclared, ended, ends } = stream.frames[s];
    if (isDeclared || ended.has(key)) return true;
    const isSwept = ends.some(
      ({ bits, prefix, begin }) => lo >>> (32 - bits) === prefix && isWhole(pair, begin, s),
    );
    if (isSwept) return true;
  }
  return false;
}

export class ReplicaCheck {
  readonly #pairs = new Map<string, Pair>();
  readonly #excused = new Map<string, number>();
  readonly #key = allocateMemory(1024);

  /** Until then a MARK of `owner` says nothing to `run`, which gave it flows or took some. */
  excuse(run: DaemonRun, owner: string, until: number): void {
    this.#excused.set(`${run.id}:${owner}`, until);
  }

  /** A stream frame of `owner`, a run of this node, is about to be handed to `run`. */
  delivers(run: DaemonRun, node: string, owner: string, sequence: number, stream: StreamRecord): void {
    const pair = this.#pairs.get(`${run.id}:${owner}`);
    if (pair === undefined || sequence <= pair.received || pair.delivered.has(sequence)) return;
    pair.delivered.add(sequence);
    this.#expect(run, node, owner, pair, stream, sequence);
  }

  /** Looks at what `run` holds of `owner` now; `peer` is what it says of it. True if frames were applied since. */
  look(run: DaemonRun, peer: PeerStatus, owner: string, stream: StreamRecord, now: number): boolean {
    const id = `${run.id}:${owner}`;
    let pair = this.#pairs.get(id);
    if (pair === undefined) {
      const delivered = new Set<number>();
      const first = peer.receivedSequence;
      pair = { received: first, verdict: 'unknown', marks: 0, holes: 0, first, gapped: [], delivered };
      this.#pairs.set(id, pair);
    }
    const from = pair.received;
    const at = peer.receivedSequence;
    const who = `${run.name}'s replica of ${peer.node} at ${at}`;
    if (at < from) throw new Violation(3, `${who}: was at ${from} before`);
    if (at > stream.length) throw new Violation(3, `${who}: only ${stream.length} frames were sent`);
    const isNewlyProven = peer.myVerdict === 'proven' && pair.verdict !== 'proven';
    if (at === from && !isNewlyProven) return false;
    this.#sweeps(run, peer, pair, stream);
    pair.received = at;
    pair.verdict = peer.myVerdict;
    const holes = run.counters.get('stream.gone');
    const isMark = at > from && stream.frames[at].endsInMark && holes === pair.holes;
    pair.holes = holes;
    if (peer.myVerdict === 'proven') {
      const isFull =
        isNewlyProven || (isMark && (stream.keys.size < FULL_KEYS || pair.marks++ % FULL_EVERY === 0));
      const wrong = isFull ? this.difference(run, peer, stream) : this.#touched(run, peer, stream, from);
      if (wrong !== undefined) throw new Violation(1, `${who} is proven: ${wrong}`);
    } else if (isMark && peer.myVerdict !== 'diverged' && now > (this.#excused.get(id) ?? 0)) {
      if (this.difference(run, peer, stream) === undefined) {
        throw new Violation(2, `${who} equals the image, and a MARK says it does not`);
      }
    }
    return at > from;
  }

  /** A run of ops ends here of which a frame is missing: what stands in its scope now has to stay. */
  #expect(run: DaemonRun, node: string, owner: string, pair: Pair, stream: StreamRecord, at: number): void {
    const { table } = run.core;
    const number = table.owners.find(node, Uint8Array.from(Buffer.from(owner, 'hex')));
    for (const { bits, prefix, begin } of stream.frames[at]?.ends ?? []) {
      if (number < 0 || isWhole(pair, begin, at)) continue;
      const keys: string[] = [];
      table.forEachOwnedInSegment(prefix >>> (bits - SEGMENT_BITS), number, (slot) => {
        if (!table.hasImage(slot)) return;
        const key = keyText(table.memory, table.recordAt(slot));
        if (stream.loOf(key) >>> (32 - bits) === prefix) keys.push(key);
      });
      if (keys.length > 0) pair.gapped.push({ frame: at, from: pair.received, keys });
    }
  }

  /** No sweep by a run of ops of which a frame is missing (invariant 7). */
  #sweeps(run: DaemonRun, peer: PeerStatus, pair: Pair, stream: StreamRecord): void {
    const at = peer.receivedSequence;
    const due = pair.gapped.filter(({ frame }) => frame <= at);
    pair.gapped = pair.gapped.filter(({ frame }) => frame > at);
    for (const { frame, from, keys } of due) {
      for (const key of keys) {
        if (this.#has(run, peer, key) || mayEnd(pair, stream, key, from + 1, at)) continue;
        throw new Violation(
          7,
          `${run.name} sweeps ${showText(key)} of ${peer.node} by a gapped run, frame ${frame}`,
        );
      }
    }
    for (const s of pair.delivered) if (s < at - KEPT_FRAMES) pair.delivered.delete(s);
  }

  #has(run: DaemonRun, peer: PeerStatus, key: string): boolean {
    const { table } = run.core;
    const slot = table.findOwned(peer.owner, this.#keyRecord(key), 0);
    return slot >= 0 && table.hasImage(slot);
  }

  #keyRecord(key: string): Memory {
    const m = this.#key;
    for (let i = 0; i < key.length; i++) m.u8[OFF_KEY + i] = key.charCodeAt(i);
    m.u16[OFF_LENGTH >>> 1] = offParts(key.length > 20 ? 16 : 4);
    return m;
  }

  /** Where the replica differs from the image at the sequence that it has applied; undefined if nowhere. */
  difference(run: DaemonRun, peer: PeerStatus, stream: StreamRecord): string | undefined {
    const { table } = run.core;
    const at = peer.receivedSequence;
    let count = 0;
    for (let slot = 0; slot < table.slotLimit; slot++) {
      if (!table.isUsed(slot) || table.owner(slot) !== peer.owner || !table.hasImage(slot)) continue;
      count++;
      const record = table.recordAt(slot);
      const key = keyText(table.memory, record);
      const history = stream.keys.get(key);
      const want = history === undefined ? undefined : valueAt(history, at);
      const have = durableText(table.memory, record);
      if (have !== want) return `${showText(have)}, want ${showText(want)}`;
    }
    const { live } = stream.frames[at];
    return count === live ? undefined : `${count} flows, want ${live}`;
  }

  /** Flows in which the replica differs from the image, for what a repair may cost. */
  differences(run: DaemonRun, peer: PeerStatus, stream: StreamRecord): number {
    const { table } = run.core;
    const at = Math.min(peer.receivedSequence, stream.length);
    let equal = 0;
    let count = 0;
    for (let slot = 0; slot < table.slotLimit; slot++) {
      if (!table.isUsed(slot) || table.owner(slot) !== peer.owner || !table.hasImage(slot)) continue;
      count++;
      const record = table.recordAt(slot);
      const history = stream.keys.get(keyText(table.memory, record));
      if (history !== undefined && valueAt(history, at) === durableText(table.memory, record)) equal++;
    }
    return count - equal + Math.max(0, stream.frames[at].live - equal);
  }

  /** As difference(), of the keys that the frames after `from` spoke of. */
  #touched(run: DaemonRun, peer: PeerStatus, stream: StreamRecord, from: number): string | undefined {
    const { table } = run.core;
    for (let s = from + 1; s <= peer.receivedSequence; s++) {
      for (const history of stream.frames[s].touched) {
        const slot = table.findOwned(peer.owner, this.#keyRecord(history.key), 0);
        const isThere = slot >= 0 && table.hasImage(slot) && lengthOf(table.memory, table.recordAt(slot)) > 0;
        const have = isThere ? durableText(table.memory, table.recordAt(slot)) : undefined;
        const want = valueAt(history, peer.receivedSequence);
        if (have !== want) return `${showText(have)}, want ${showText(want)}`;
      }
    }
    return undefined;
  }
}
