/**
 * What the own stream says of expectations. An expectation that ended is said before the flows, a new one after them
 * and never while its master waits to be said: a receiver knows the master first.
 *
 * Who asks gets all of them between SCOPE_BEGIN(0, 0) and SCOPE_END(0, 0), over as many flushes as it takes. What
 * changes meanwhile may stand in between: each op is total, so the run still names what there is.
 */
import { writeMasterKey } from '../flow/expectation.js';
import { allocateMemory } from '../flow/record.js';
import { EXPECTATIONS_PER_FLUSH } from '../limits.js';
import { type ExpectationEntry, hasImage } from '../table/expectation-table.js';
import { DIRTY, OWNER_SELF } from '../table/slot-bits.js';
import type { FrameBuilder } from './frame-builder.js';
import type { Self } from './self.js';

export class ExpectationsOut {
  readonly #self: Self;
  readonly #frames: FrameBuilder;
  readonly #master = allocateMemory(64);
  /** Entries that the run under way has still to name, the next one last. */
  #run: ExpectationEntry[] | undefined;

  constructor(self: Self, frames: FrameBuilder) {
    this.#self = self;
    this.#frames = frames;
  }

  /** Takes back what ended. */
  sayEnded(): void {
    const { expectations } = this.#self.ports.table;
    const frames = this.#frames;
    for (const entry of expectations.ended) {
      if (!frames.mayGoOn(1)) return;
      frames.slots++;
      if (hasImage(entry)) {
        frames.open();
        if (!frames.ops.expectDelete(entry.record, 0)) {
          frames.next();
          frames.ops.expectDelete(entry.record, 0);
        }
        frames.isUnmarked = true;
      }
      expectations.remove(entry);
    }
  }

  /** Says what is new, but for those whose master has still to be said. */
  sayNew(): void {
    const { expectations } = this.#self.ports.table;
    let left = Math.min(expectations.dirty.size, EXPECTATIONS_PER_FLUSH);
    for (const entry of expectations.dirty) {
      if (left-- === 0 || !this.#frames.mayGoOn(1)) return;
      this.#frames.slots++;
      if (!this.#isMasterWaiting(entry)) this.#upsert(entry);
      else {
        // To the end, so that the others have their turn.
        expectations.dirty.delete(entry);
        expectations.dirty.add(entry);
      }
    }
  }

  /** Goes on with the run that receivers asked for. True when there is none any more. */
  answer(share: number): boolean {
    const { expectations } = this.#self.ports.table;
    const frames = this.#frames;
    // What ended and was not taken back would make the sum at the run's end another one than the run's.
    if (expectations.ended.size > 0 || !frames.mayGoOn(share)) return false;
    if (this.#run === undefined) {
      this.#run = expectations.list(OWNER_SELF);
      this.#bound(() => frames.ops.scopeBegin(0, 0));
    }
    for (let n = 0; n < EXPECTATIONS_PER_FLUSH; n++) {
      const entry = this.#run.pop();
      if (entry === undefined) {
        this.#run = undefined;
        this.#end();
        return true;
      }
      if (entry.isLive && entry.owner === OWNER_SELF) this.#upsert(entry);
      frames.slots++;
      if (!frames.mayGoOn(share)) return false;
    }
    return false;
  }

  #upsert(entry: ExpectationEntry): void {
    const frames = this.#frames;
    frames.open();
    if (!frames.ops.expectUpsert(entry.record, 0)) {
      frames.next();
      frames.ops.expectUpsert(entry.record, 0);
    }
    this.#self.ports.table.expectations.setImage(entry);
    frames.isUnmarked = true;
  }

  #end(): void {
    const { expectations } = this.#self.ports.table;
    expectations.sum(OWNER_SELF);
    const { count, lo, hi } = expectations;
    this.#bound(() => this.#frames.ops.scopeEnd(0, 0, count, lo, hi));
    this.#frames.isUnmarked = true;
    this.#self.isMarkSoon = true;
  }

  #bound(write: () => boolean): void {
    this.#frames.open();
    if (write()) return;
    this.#frames.next();
    write();
  }

  #isMasterWaiting(entry: ExpectationEntry): boolean {
    const { table } = this.#self.ports;
    writeMasterKey(entry.record, 0, this.#master);
    const slot = table.find(this.#master, 0);
    return slot >= 0 && (table.bits(slot) & DIRTY) !== 0;
  }
}
