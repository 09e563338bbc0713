/**
 * Applies the streams of peers, strictly in order: a replica is a function of a prefix of its owner's
 * stream, and what MARK, SUMS and SCOPE_END say is compared at the very position where they stand.
 */
import { validateRecord } from '../flow/validate.js';
import { ACK_FRAMES, QUARANTINE_MAX, RING_FRAMES } from '../limits.js';
import { LEVEL_GROUP, LEVEL_ROOT, LEVEL_SEGMENT } from '../table/digests.js';
import { FRESH } from '../table/slot-bits.js';
import type { FrameReader } from '../wire/frame.js';
import { OP_BAD, OP_END, OP_REFUSED, OP_UNKNOWN, OpReader } from '../wire/op-reader.js';
import {
  SUMS_WIDTH,
  WIRE_DECLARE,
  WIRE_DELETE,
  WIRE_MARK,
  WIRE_ROLE,
  WIRE_SCOPE_BEGIN,
  WIRE_SCOPE_END,
  WIRE_SUMS,
  WIRE_UPSERT,
} from '../wire/ops.js';
import type { Declarations } from './declarations.js';
import { applyDelete, applyUpsert } from './ownership.js';
import type { Peer } from './peer.js';
import { ROLES } from './ports.js';
import type { Self } from './self.js';

/** A record that failed validation, as it came. */
export interface Quarantined {
  node: string;
  sequence: number;
  reason: string;
  bytes: Uint8Array;
}

export class StreamIn {
  /** The first records that were refused; the rest are only counted. */
  readonly quarantine: Quarantined[] = [];
  readonly #self: Self;
  readonly #declarations: Declarations;
  readonly #ops = new OpReader();
  #list = new Int32Array(1024);

  constructor(self: Self, declarations: Declarations) {
    this.#self = self;
    this.#declarations = declarations;
  }

  /** Applies a stream frame of a proven peer. True if it was new, and so a sign of life. */
  receive(peer: Peer, frame: FrameReader, now: number): boolean {
    const { counters } = this.#self.ports;
    const sequence = frame.counter;
    if (sequence <= peer.applied) {
      counters.count('stream.duplicate');
      return false;
    }
    // A counter out of reach would make every true frame look old. The next heartbeat moves the reach.
    if (sequence > Math.max(peer.applied, peer.sequence) + RING_FRAMES) {
      counters.count('stream.out-of-reach');
      return false;
    }
    if (sequence > peer.applied + 1) this.#gap(peer, sequence - peer.applied - 1, now);
    peer.applied = sequence;
    if (sequence > peer.sequence) peer.sequence = sequence;
    this.#self.stamp++;
    this.#self.seconds = Math.floor(now / 1000);
    this.#apply(peer, frame, now);
    if (peer.unacked++ === 0) peer.firstUnackedAt = now;
    return true;
  }

  /** True if an ACK is due before its timer. */
  isAckDue(peer: Peer): boolean {
    return peer.unacked >= ACK_FRAMES;
  }

  #gap(peer: Peer, frames: number, now: number): void {
    this.#self.ports.counters.count('stream.lost-frames', frames);
    peer.openScope = -1;
    this.#self.suspect(peer, 'stream.gap');
    peer.asker.start(now);
  }

  #apply(peer: Peer, frame: FrameReader, now: number): void {
    const ops = this.#ops;
    const { counters } = this.#self.ports;
    ops.start(frame.payload, frame.payloadAt, frame.payloadEnd);
    for (;;) {
      const op = ops.next();
      switch (op) {
        case OP_END:
          return;
        case WIRE_UPSERT:
          this.#upsert(peer);
          break;
        case WIRE_DELETE:
          this.#delete(peer);
          break;
        case OP_UNKNOWN:
          counters.count('op.unknown');
          break;
        case OP_REFUSED:
          this.#quarantine(peer, 'malformed');
          break;
        case OP_BAD:
          // What follows cannot be found: as if the rest of the frame had been lost.
          peer.openScope = -1;
          this.#self.suspect(peer, 'op.malformed');
          peer.asker.start(now);
          return;
        default:
          this.#statement(op, peer, now);
      }
    }
  }

  #upsert(peer: Peer): void {
    const record = this.#ops.record;
    const reason = validateRecord(record, 0, record.u8.length);
    if (reason !== undefined) {
      this.#quarantine(peer, reason);
      return;
    }
    if (applyUpsert(this.#self, peer, record, this.#ops.isFresh ? FRESH : 0) < 0) {
      this.#self.suspect(peer, 'table.full');
    }
  }

  #delete(peer: Peer): void {
    const slot = this.#self.ports.table.findOwned(peer.owner, this.#ops.record, 0);
    if (slot >= 0) applyDelete(this.#self, slot);
    else this.#self.ports.counters.count('op.delete-of-nothing');
  }

  #quarantine(peer: Peer, reason: string): void {
    this.#self.suspect(peer, `quarantine.${reason}`);
    if (this.quarantine.length >= QUARANTINE_MAX) return;
    const bytes = this.#ops.bytes.slice(this.#ops.opStart, this.#ops.opEnd);
    this.quarantine.push({ node: peer.node, sequence: peer.applied, reason, bytes });
    this.#self.ports.log('warn', 'a record from a peer was refused', { node: peer.node, reason });
  }

  #statement(op: number, peer: Peer, now: number): void {
    switch (op) {
      case WIRE_MARK:
        this.#mark(peer, now);
        break;
      case WIRE_SCOPE_BEGIN:
        peer.openScope = this.#ops.segment;
        // Another stamp, so that what the scope names can be told from what came before in the same frame.
        peer.openScopeStamp = ++this.#self.stamp;
        break;
      case WIRE_SCOPE_END:
        this.#scopeEnd(peer, now);
        break;
      case WIRE_SUMS:
        if (this.#ops.level === LEVEL_GROUP) this.#groupSums(peer, now);
        else this.#segmentSums(peer, now);
        break;
      case WIRE_ROLE:
        this.#role(peer);
        break;
      case WIRE_DECLARE:
        if (this.#self.seeTerm(this.#ops.term)) {
          this.#declarations.receive(peer, this.#ops.seeds, this.#ops.isFormer, this.#ops.term);
        }
        break;
    }
  }

  #role(peer: Peer): void {
    const role = ROLES[this.#ops.role];
    if (role === undefined || !this.#self.seeTerm(this.#ops.term)) {
      this.#self.ports.counters.count('op.role');
      return;
    }
    setPeerRole(this.#self, peer, role, this.#ops.term);
  }

  #mark(peer: Peer, now: number): void {
    if (now < peer.absorbedUntil) return;
    if (this.#isEqual(peer, LEVEL_ROOT, 0, this.#ops.count, this.#ops.lo, this.#ops.hi)) {
      this.#proven(peer);
      return;
    }
    if (peer.verdict === 'proven') {
      this.#self.ports.log('warn', 'a replica differs from what its owner said', { node: peer.node });
    }
    this.#self.suspect(peer, 'stream.mark-differs');
    if (peer.verdict === 'suspect') peer.asker.start(now);
  }

  #proven(peer: Peer): void {
    peer.asker.finish();
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

  /** Ends the run: what it did not name is not in the owner's image, if the run came whole. */
  #scopeEnd(peer: Peer, now: number): void {
    const segment = this.#ops.segment;
    const isWhole = peer.openScope === segment;
    peer.openScope = -1;
    if (!isWhole) {
      this.#self.ports.counters.count('repair.gapped');
      return;
    }
    const table = this.#self.ports.table;
    const size = table.segmentSize(segment);
    if (this.#list.length < size) this.#list = new Int32Array(size * 2);
    table.segmentSlots(segment, this.#list);
    for (let i = 0; i < size; i++) {
      const slot = this.#list[i];
      if (!table.isUsed(slot) || table.owner(slot) !== peer.owner || !table.hasImage(slot)) continue;
      if (table.changedAt(slot) < peer.openScopeStamp) applyDelete(this.#self, slot);
    }
    this.#self.ports.counters.count('repair.scopes');
    const { count, lo, hi } = this.#ops;
    const isEqual = this.#isEqual(peer, LEVEL_SEGMENT, segment, count, lo, hi);
    if (!peer.asker.scopeDone(segment, isEqual, now)) return;
    this.#self.ports.log('error', 'a scope stays different after repairs', { node: peer.node, segment });
    this.#self.ports.counters.count('repair.diverged');
  }

  #groupSums(peer: Peer, now: number): void {
    if (peer.asker.phase !== 'groups') return;
    const sums = this.#ops.sums;
    const table = this.#self.ports.table;
    let differing = 0;
    for (let group = 0; group < SUMS_WIDTH; group++) {
      const i = group * 3;
      if (this.#isEqual(peer, LEVEL_GROUP, group, sums[i], sums[i + 1], sums[i + 2])) continue;
      differing++;
      // Nothing of the group is here: its segments need not be asked about.
      if (table.digests.count === 0) {
        for (let s = group * SUMS_WIDTH; s < (group + 1) * SUMS_WIDTH; s++) peer.asker.wantScope(s);
      } else peer.asker.wantGroup(group);
    }
    if (differing === 0) this.#proven(peer);
    else {
      peer.asker.groupsDone(now);
      this.#judgeDiverged(peer);
    }
  }

  #segmentSums(peer: Peer, now: number): void {
    const group = this.#ops.index;
    if (peer.asker.phase !== 'segments' || !peer.asker.isGroupWanted(group)) return;
    const sums = this.#ops.sums;
    for (let i = 0; i < SUMS_WIDTH; i++) {
      const segment = group * SUMS_WIDTH + i;
      const isEqual = this.#isEqual(
        peer,
        LEVEL_SEGMENT,
        segment,
        sums[i * 3],
        sums[i * 3 + 1],
        sums[i * 3 + 2],
      );
      if (!isEqual) peer.asker.wantScope(segment);
    }
    peer.asker.groupDone(group, now);
    this.#judgeDiverged(peer);
  }

  /** Everything that differs was given up: say so, and stop asking. */
  #judgeDiverged(peer: Peer): void {
    if (peer.asker.phase !== 'waiting' || peer.asker.diverged === 0 || peer.verdict === 'diverged') return;
    peer.verdict = 'diverged';
    peer.verdictAt = peer.applied;
    this.#self.isHeartbeatSoon = true;
    this.#self.tell('diverged', peer);
  }
}

/** Notes a peer's role and term; tells of a change. */
export function setPeerRole(self: Self, peer: Peer, role: Peer['role'], term: number): void {
  const isNews = peer.role !== role || peer.term !== term;
  peer.role = role;
  peer.term = term;
  if (role === 'primary') {
    // A tenure that was absorbed stays so: a primary in the same term still has to hear of it.
    if (term > peer.primaryTerm) peer.wasPrimary = true;
    peer.primaryTerm = Math.max(peer.primaryTerm, term);
  }
  if (isNews) self.tell('role', peer);
}
