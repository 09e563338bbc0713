/**
 * The own stream: turns dirty slots, questions of receivers and statements into numbered frames.
 *
 * Image hashes are noted as ops are written, so every MARK is exact at its position, under any load. A frame
 * is begun and sent within one flush: nothing changes in the table between its first op and its last.
 */
import { FLUSH_INTERVAL_MS, MARK_INTERVAL_MS, MARK_QUIET_INTERVAL_MS } from '../limits.js';
import { LEVEL_GROUP, LEVEL_ROOT, LEVEL_SEGMENT, LEVEL_SIZES } from '../table/digests.js';
import { DEAD, DIRTY, FRESH, OWNER_SELF } from '../table/slot-bits.js';
import { CLASS_STREAM } from '../wire/frame.js';
import { OpWriter, type Seed } from '../wire/op-writer.js';
import { SUMS_WIDTH } from '../wire/ops.js';
import type { FrameRing } from './frame-ring.js';
import { ROLES, type Role } from './ports.js';
import { RepairDesk } from './repair-desk.js';
import type { Self } from './self.js';
import type { Window } from './window.js';

/** Slots taken up in one flush, and frames built in it: about a millisecond of work. */
const FLUSH_SLOTS = 1024;
const FLUSH_FRAMES = 48;
/** Least time between two MARKs. Milliseconds. */
const MARK_LEAST_MS = 10;
/** What an UPSERT of an IPv4 TCP flow takes, to guess whether a frame would be full. Bytes. */
const TYPICAL_OP_BYTES = 40;
/** Statements (DECLARE, ROLE) that may wait. */
const STATEMENTS_MAX = 64;

interface Statement {
  kind: 'declare' | 'role';
  term: number;
  isFormer: boolean;
  seeds: readonly Seed[];
  role: Role;
}

export class StreamOut {
  readonly desk = new RepairDesk();
  /** Receivers wait for their repairs: a commit goes before them. */
  isRepairDeferred = false;
  /** Last frame sent. */
  sequence = 0;
  readonly #self: Self;
  readonly #ring: FrameRing;
  readonly #window: Window;
  readonly #ops = new OpWriter();
  readonly #statements: Statement[] = [];
  /** What was taken over when this node became primary, said again to who asks for a repair: it may have missed it. */
  #takeover: Statement | undefined;
  readonly #sums = new Uint32Array(SUMS_WIDTH * 3);
  #list = new Int32Array(1024);
  #now = 0;
  #frames = 0;
  #slots = 0;
  #isOpen = false;
  #lastFrameAt = Number.NEGATIVE_INFINITY;
  #lastMarkAt = Number.NEGATIVE_INFINITY;
  /** Something was said since the last MARK. */
  #isUnmarked = false;

  constructor(self: Self, ring: FrameRing, window: Window) {
    this.#self = self;
    this.#ring = ring;
    this.#window = window;
  }

  declare(seeds: readonly Seed[], isFormer: boolean, term: number): void {
    const statement: Statement = { kind: 'declare', term, isFormer, seeds, role: 'backup' };
    this.#state(statement);
    if (seeds.length > 0) this.#takeover = statement;
    this.#self.isMarkSoon = true;
  }

  stateRole(role: Role, term: number): void {
    this.#state({ kind: 'role', term, isFormer: false, seeds: [], role });
    if (role !== 'primary') this.#takeover = undefined;
  }

  /** Says what there is to say, for about a millisecond. True if there is more. */
  flush(now: number): boolean {
    const { table } = this.#self.ports;
    if (!this.#self.isMirrorReady || this.#window.isParked) return false;
    if (this.#isWorthWaiting(now)) return true;
    this.#now = now;
    this.#frames = 0;
    this.#slots = 0;
    if (this.#hasRoom()) this.#sayStatements(false);
    while (table.dirtyCount > 0 && this.#hasBudget(1) && this.#hasRoom()) this.#sayNext();
    if (table.dirtyCount === 0) this.#sayStatements(true);
    if (!this.isRepairDeferred) this.#answer();
    this.#markIfDue();
    if (this.#isOpen) this.#send();
    return (
      table.dirtyCount > 0 || this.#statements.length > 0 || !(this.desk.isEmpty || this.isRepairDeferred)
    );
  }

  /** Under load a frame waits for more ops, but not for long. */
  #isWorthWaiting(now: number): boolean {
    if (this.#statements.length > 0 || !this.desk.isEmpty) return false;
    const waiting = this.#self.ports.table.dirtyCount;
    if (waiting === 0 || waiting * TYPICAL_OP_BYTES >= this.#ring.frameBytes) return false;
    return now - this.#lastFrameAt < FLUSH_INTERVAL_MS && now >= this.#lastFrameAt;
  }

  #hasBudget(share: number): boolean {
    return this.#frames < FLUSH_FRAMES * share && this.#slots < FLUSH_SLOTS * share;
  }

  #hasRoom(): boolean {
    return this.#window.room(this.sequence) > 0;
  }

  #state(statement: Statement): void {
    if (this.#statements.length >= STATEMENTS_MAX) this.#statements.shift();
    this.#statements.push(statement);
  }

  /**
   * A role that gives up being primary is said after all that was to be said before it; the rest goes
   * first.
   */
  #sayStatements(isQueueEmpty: boolean): void {
    while (this.#statements.length > 0) {
      const s = this.#statements[0];
      if (s.kind === 'role' && s.role !== 'primary' && !isQueueEmpty) return;
      this.#say(s);
      if (s.kind === 'role') this.#self.statedRole = s.role;
      this.#statements.shift();
      this.#isUnmarked = true;
    }
  }

  #say(s: Statement): void {
    this.#open();
    if (this.#write(s)) return;
    this.#next();
    if (!this.#write(s)) this.#self.ports.counters.count('stream.op-oversized');
  }

  #write(s: Statement): boolean {
    if (s.kind === 'declare') return this.#ops.declare(s.term, s.isFormer, s.seeds);
    return this.#ops.role(ROLES.indexOf(s.role), s.term);
  }

  #sayNext(): void {
    const table = this.#self.ports.table;
    const slot = table.nextDirty();
    if (slot < 0) return;
    this.#slots++;
    if (table.owner(slot) !== OWNER_SELF) return;
    if ((table.bits(slot) & DEAD) === 0) {
      this.#upsert(slot, false);
      return;
    }
    if (table.hasImage(slot)) {
      this.#open();
      if (!this.#ops.delete(table.memory, table.recordAt(slot))) {
        this.#next();
        this.#ops.delete(table.memory, table.recordAt(slot));
      }
      this.#isUnmarked = true;
    }
    table.remove(slot);
  }

  /** Says the slot's record as it is now; nothing when that was said already, unless `isForced`. */
  #upsert(slot: number, isForced: boolean): void {
    const table = this.#self.ports.table;
    const isFresh = (table.bits(slot) & FRESH) !== 0;
    table.currentHash(slot);
    const { lo, hi } = table.hash;
    if (!isForced && !isFresh && table.imageLo(slot) === lo && table.imageHi(slot) === hi) return;
    this.#open();
    if (!this.#ops.upsert(table.memory, table.recordAt(slot), isFresh)) {
      this.#next();
      if (!this.#ops.upsert(table.memory, table.recordAt(slot), isFresh)) {
        this.#self.ports.counters.count('stream.op-oversized');
        return;
      }
    }
    // Saying the same again is no change: a demote asks what changed after the new primary's cut.
    if (isFresh || table.imageLo(slot) !== lo || table.imageHi(slot) !== hi) {
      table.setImage(slot, lo, hi);
      table.setChangedAt(slot, this.#self.stamp, table.changedTime(slot));
    }
    if ((table.bits(slot) & (FRESH | DIRTY)) !== 0) table.clearBits(slot, FRESH | DIRTY);
    this.#isUnmarked = true;
  }

  /**
   * Answers receivers: sums first, then scopes. Half a flush is theirs even when the queue never gets
   * empty.
   */
  #answer(): void {
    const desk = this.desk;
    if (desk.isEmpty || !this.#hasRoom()) return;
    if (desk.areGroupsWanted) {
      desk.areGroupsWanted = false;
      if (this.#takeover !== undefined) this.#say(this.#takeover);
      this.#saySums(LEVEL_GROUP, 0);
    }
    while (desk.groupCount > 0 && this.#hasBudget(1.5) && this.#hasRoom()) {
      this.#saySums(LEVEL_SEGMENT, desk.takeGroup());
    }
    while (desk.scopeCount > 0 && desk.groupCount === 0 && this.#hasBudget(1.5)) {
      if (!this.#sayScope(desk.peekScope())) return;
      if (desk.scopeCount === 0) this.#self.isMarkSoon = true;
    }
  }

  #saySums(level: number, index: number): void {
    const { digests } = this.#self.ports.table;
    const first = level === LEVEL_SEGMENT ? index * SUMS_WIDTH : 0;
    const count = Math.min(SUMS_WIDTH, LEVEL_SIZES[level]);
    for (let i = 0; i < count; i++) {
      digests.sum(OWNER_SELF, level, first + i);
      this.#sums[i * 3] = digests.count;
      this.#sums[i * 3 + 1] = digests.lo;
      this.#sums[i * 3 + 2] = digests.hi;
    }
    this.#open();
    if (!this.#ops.sums(level, index, this.#sums)) {
      this.#next();
      this.#ops.sums(level, index, this.#sums);
    }
    // Two answers of this size do not fit a frame of 1,500 bytes: they count as much work as their frame.
    this.#slots += SUMS_WIDTH / 2;
  }

  /** One scope as one contiguous run of ops, from current records. False if the window has no room for it. */
  #sayScope(segment: number): boolean {
    const table = this.#self.ports.table;
    const size = table.segmentSize(segment);
    const frames = Math.ceil((size * TYPICAL_OP_BYTES) / this.#ring.frameBytes) + 1;
    if (this.#window.room(this.sequence) < Math.min(frames, FLUSH_FRAMES)) return false;
    if (this.#list.length < size) this.#list = new Int32Array(size * 2);
    table.segmentSlots(segment, this.#list);
    this.#open();
    if (!this.#ops.scopeBegin(segment)) {
      this.#next();
      this.#ops.scopeBegin(segment);
    }
    for (let i = 0; i < size; i++) {
      const slot = this.#list[i];
      if (!table.isUsed(slot) || table.owner(slot) !== OWNER_SELF) continue;
      // What ended is not named: the end of the run deletes it at the receivers.
      if ((table.bits(slot) & DEAD) !== 0) table.remove(slot);
      else this.#upsert(slot, true);
    }
    table.digests.sum(OWNER_SELF, LEVEL_SEGMENT, segment);
    const { count, lo, hi } = table.digests;
    if (!this.#ops.scopeEnd(segment, count, lo, hi)) {
      this.#next();
      this.#ops.scopeEnd(segment, count, lo, hi);
    }
    this.#slots += size + 1;
    this.#isUnmarked = true;
    this.desk.scopeSaid(segment);
    return true;
  }

  #markIfDue(): void {
    const since = this.#now - this.#lastMarkAt;
    const isQueueEmpty = this.#self.ports.table.dirtyCount === 0;
    const isDue =
      since >= MARK_INTERVAL_MS ||
      (isQueueEmpty && this.#isUnmarked && since >= MARK_QUIET_INTERVAL_MS) ||
      (isQueueEmpty && this.#self.isMarkSoon && since >= MARK_LEAST_MS);
    if (!isDue || !this.#hasRoom()) return;
    const { digests } = this.#self.ports.table;
    digests.sum(OWNER_SELF, LEVEL_ROOT, 0);
    this.#open();
    if (!this.#ops.mark(digests.count, digests.lo, digests.hi)) {
      this.#next();
      this.#ops.mark(digests.count, digests.lo, digests.hi);
    }
    this.#lastMarkAt = this.#now;
    this.#isUnmarked = false;
    this.#self.isMarkSoon = false;
  }

  #open(): void {
    if (this.#isOpen) return;
    const frame = this.#ring.buffer(this.sequence + 1);
    const { headBytes, tailBytes } = this.#self.frames;
    this.#ops.bytes.reset(frame, headBytes, frame.length - tailBytes);
    this.#self.stamp++;
    this.#isOpen = true;
  }

  #next(): void {
    this.#send();
    this.#open();
  }

  #send(): void {
    const head = this.#self.frames.headBytes;
    const payload = this.#ops.bytes.at - head;
    this.#isOpen = false;
    if (payload === 0) return;
    this.#window.noteSend(this.sequence, this.#now);
    const sequence = ++this.sequence;
    const frame = this.#ring.buffer(sequence);
    const length = this.#self.frames.finish(frame, CLASS_STREAM, sequence, payload, this.#self.frameVersion);
    this.#ring.setSent(sequence, this.#now, this.#self.stamp);
    this.#lastFrameAt = this.#now;
    this.#frames++;
    this.#self.ports.send(frame, length, this.#self.dataLink);
  }
}
