/**
 * Compares what a peer's stream says of its image (MARK, SUMS, SCOPE_END) with the replica here, at the very position
 * where it is said, and decides what to ask for.
 */
import { LEVEL_GROUP, LEVEL_ROOT, LEVEL_SEGMENT } from '../table/digests.js';
import { FineSums } from '../table/fine-sums.js';
import type { OpReader } from '../wire/op-reader.js';
import { FINE_BITS, FINE_COUNT_MAX, LEVEL_FINE, SEGMENT_BITS, SUMS_WIDTH } from '../wire/ops.js';
import type { ExpectationsIn } from './expectations-in.js';
import { applyDelete } from './ownership.js';
import type { Peer } from './peer.js';
import { segmentOfFine } from './repair-desk.js';
import type { Self } from './self.js';

/** What a flow, the head and end of a run, and a frame of fine sums take on the link, to choose the cheaper way. Bytes. */
const OP_BYTES = 40;
const RUN_BYTES = 36;
const FINE_SUMS_OP_BYTES = 425;
/** Fine scopes that are likely to differ in a segment that differs. */
const FINE_LIKELY = 2;

/** One number for a scope of either size. */
const scopeId = (bits: number, prefix: number): number => bits * 2 ** 20 + prefix;

export class RepairJudge {
  readonly #self: Self;
  readonly #ops: OpReader;
  readonly #expectations: ExpectationsIn;
  readonly #fine = new FineSums();

  constructor(self: Self, ops: OpReader, expectations: ExpectationsIn) {
    this.#self = self;
    this.#ops = ops;
    this.#expectations = expectations;
  }

  /** The replica is not known to be equal any more, and a repair begins where the peer's mode has repairs. */
  doubt(peer: Peer, why: string, now: number): void {
    peer.expectations.run = 0;
    this.#self.suspect(peer, why);
    if (peer.mode === 'reliable') peer.asker.start(now);
  }

  mark(peer: Peer, now: number): void {
    if (now < peer.absorbedUntil) return;
    const { count, lo, hi } = this.#ops;
    const areExpectationsEqual = this.#expectations.mark(peer);
    if (this.#isEqual(peer, LEVEL_ROOT, 0, count, lo, hi)) {
      if (areExpectationsEqual) {
        // Beside stream.mark-differs: the share of MARKs that were proven is what a lossy link is judged by.
        this.#self.ports.counters.count('stream.mark-proven');
        this.#proven(peer);
      } else peer.asker.finish();
      return;
    }
    if (peer.verdict === 'proven') {
      this.#self.ports.log('warn', 'a replica differs from what its owner said', { node: peer.node });
    }
    this.#self.suspect(peer, 'stream.mark-differs');
    peer.doubt();
    const mayAsk = peer.verdict === 'suspect' || peer.asker.diverged === 0;
    if (mayAsk && peer.mode === 'reliable') peer.asker.start(now);
  }

  scopeBegin(peer: Peer, now: number): void {
    if (this.#ops.scopeBits === 0) {
      this.#expectations.runBegin(peer, now);
      return;
    }
    peer.openScope = scopeId(this.#ops.scopeBits, this.#ops.prefix);
    // Another stamp, so that what the scope names can be told from what came before in the same frame.
    peer.openScopeStamp = ++this.#self.stamp;
  }

  /** Ends the run: what it did not name is not in the owner's image, if the run came whole. */
  scopeEnd(peer: Peer, now: number): void {
    const { scopeBits, prefix, count, lo, hi } = this.#ops;
    if (scopeBits === 0) {
      if (this.#expectations.runEnd(peer)) this.#diverge(peer);
      return;
    }
    const isWhole = peer.openScope === scopeId(scopeBits, prefix);
    peer.openScope = -1;
    if (!isWhole) {
      this.#self.ports.counters.count('repair.gapped');
      return;
    }
    let isGivenUp = false;
    if (scopeBits === SEGMENT_BITS) {
      this.#sweep(peer, prefix, -1);
      this.#self.ports.counters.count('repair.scopes');
      const isEqual = this.#isEqual(peer, LEVEL_SEGMENT, prefix, count, lo, hi);
      isGivenUp = peer.asker.scopeDone(prefix, isEqual, now);
    } else if (scopeBits === FINE_BITS) {
      this.#sweep(peer, segmentOfFine(prefix), prefix);
      this.#self.ports.counters.count('repair.fine-scopes');
      isGivenUp = peer.asker.fineDone(prefix, this.#isFineEqual(peer, prefix, count, lo, hi), now);
    }
    if (!isGivenUp) return;
    this.#self.ports.log('error', 'a scope stays different after repairs', {
      node: peer.node,
      bits: scopeBits,
      prefix,
    });
    this.#self.ports.counters.count('repair.diverged');
  }

  sums(peer: Peer, now: number): void {
    const { level } = this.#ops;
    if (level === LEVEL_GROUP) this.#groupSums(peer, now);
    else if (level === LEVEL_SEGMENT) this.#segmentSums(peer, now);
    else if (level === LEVEL_FINE) this.#fineSums(peer, now);
  }

  #proven(peer: Peer): void {
    peer.asker.finish();
    peer.prove();
    const isNews = peer.verdict !== 'proven';
    peer.verdict = 'proven';
    peer.verdictAt = peer.applied;
    if (!isNews) return;
    this.#self.isHeartbeatSoon = true;
    this.#self.tell('in-sync', peer);
  }

  #isEqual(peer: Peer, level: number, index: number, count: number, lo: number, hi: number): boolean {
    const sums = this.#self.ports.table.digests;
    sums.sum(peer.owner, level, index);
    return sums.count === count && sums.lo === lo && sums.hi === hi;
  }

  #isFineEqual(peer: Peer, fine: number, count: number, lo: number, hi: number): boolean {
    const { sums } = this.#fine;
    this.#fine.read(this.#self.ports.table, peer.owner, segmentOfFine(fine));
    const at = (fine % SUMS_WIDTH) * 3;
    return sums[at] === count && sums[at + 1] === lo && sums[at + 2] === hi;
  }

  /** Deletes what the run that has just ended did not name, of a segment or of one fine scope (-1: of all). */
  #sweep(peer: Peer, segment: number, fine: number): void {
    const { table } = this.#self.ports;
    this.#fine.readSlots(table, segment);
    for (let i = 0; i < this.#fine.slots; i++) {
      const slot = this.#fine.list[i];
      if (!table.isUsed(slot) || table.owner(slot) !== peer.owner || !table.hasImage(slot)) continue;
      if (fine >= 0 && table.fineAt(slot) !== fine) continue;
      if (table.changedAt(slot) < peer.openScopeStamp) applyDelete(this.#self, slot, true);
    }
  }

  #groupSums(peer: Peer, now: number): void {
    const { asker } = peer;
    if (asker.phase !== 'groups') return;
    const { sums } = this.#ops;
    const { digests } = this.#self.ports.table;
    let differing = 0;
    for (let group = 0; group < SUMS_WIDTH; group++) {
      const i = group * 3;
      if (this.#isEqual(peer, LEVEL_GROUP, group, sums[i], sums[i + 1], sums[i + 2])) continue;
      differing++;
      // Nothing of the group is here, or nothing of it there: its segments need not be asked about.
      if (digests.count === 0 || sums[i] === 0) {
        for (let s = group * SUMS_WIDTH; s < (group + 1) * SUMS_WIDTH; s++) asker.wantScope(s);
      } else asker.wantGroup(group);
    }
    if (differing === 0) {
      // The expectations were equal at the last MARK, or are to be compared at the next.
      if (peer.expectations.isEqual) this.#proven(peer);
      else asker.finish();
      return;
    }
    asker.groupsDone(now);
    this.#judgeDiverged(peer);
  }

  #segmentSums(peer: Peer, now: number): void {
    const { asker } = peer;
    const group = this.#ops.index;
    if (asker.phase !== 'segments' || !asker.isGroupWanted(group)) return;
    const { sums } = this.#ops;
    const { digests } = this.#self.ports.table;
    for (let i = 0; i < SUMS_WIDTH; i++) {
      const segment = group * SUMS_WIDTH + i;
      const count = sums[i * 3];
      if (this.#isEqual(peer, LEVEL_SEGMENT, segment, count, sums[i * 3 + 1], sums[i * 3 + 2])) continue;
      if (isFineCheaper(count, digests.count)) asker.wantFineSums(segment);
      else asker.wantScope(segment);
    }
    asker.groupDone(group, now);
    this.#judgeDiverged(peer);
  }

  #fineSums(peer: Peer, now: number): void {
    const { asker } = peer;
    const segment = this.#ops.index;
    if (asker.phase !== 'fine' || !asker.areFineSumsWanted(segment)) return;
    const theirs = this.#ops.sums;
    const mine = this.#fine.sums;
    this.#fine.read(this.#self.ports.table, peer.owner, segment);
    let whole = RUN_BYTES;
    let fine = 0;
    for (let i = 0; i < theirs.length; i += 3) {
      whole += theirs[i] * OP_BYTES;
      if (!isFineEqual(theirs, mine, i)) fine += theirs[i] * OP_BYTES + RUN_BYTES;
    }
    // The segment differs: where the shortened sums do not show it, all of it is asked for.
    if (fine === 0 || fine >= whole) asker.wantScope(segment);
    else {
      for (let i = 0; i < theirs.length; i += 3) {
        if (!isFineEqual(theirs, mine, i)) asker.wantFine(segment * SUMS_WIDTH + i / 3);
      }
    }
    asker.fineSumsDone(segment, now);
    this.#judgeDiverged(peer);
  }

  /** Everything that differs was given up: say so, and stop asking. */
  #judgeDiverged(peer: Peer): void {
    if (peer.asker.phase === 'waiting' && peer.asker.diverged > 0) this.#diverge(peer);
  }

  #diverge(peer: Peer): void {
    if (peer.verdict === 'diverged') return;
    peer.verdict = 'diverged';
    peer.verdictAt = peer.applied;
    this.#self.isHeartbeatSoon = true;
    this.#self.tell('diverged', peer);
  }
}

/** True if the fine sums of a segment and a few of its fine scopes cost less than the segment itself. */
function isFineCheaper(theirs: number, mine: number): boolean {
  // Most of it is missing, or too much: nearly every fine scope differs.
  if (mine < theirs / 2 || theirs < mine / 2) return false;
  const fine = FINE_SUMS_OP_BYTES + FINE_LIKELY * ((theirs / SUMS_WIDTH) * OP_BYTES + RUN_BYTES);
  return fine < theirs * OP_BYTES + RUN_BYTES;
}

/** True if a triple of a peer's fine sums, shortened as on the wire, can be this node's. */
function isFineEqual(theirs: Uint32Array, mine: Uint32Array, i: number): boolean {
  return (
    theirs[i] === Math.min(mine[i], FINE_COUNT_MAX) &&
    theirs[i + 1] === mine[i + 1] &&
    theirs[i + 2] === (mine[i + 2] & 0xff)
  );
}
