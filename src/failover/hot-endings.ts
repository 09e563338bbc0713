/**
 * Held flows that are to leave the kernel, or to give way to another life. The kernel is asked for the ct id; then the
 * event queue is read to empty, so that a life that began here meanwhile is known; then the flow is deleted by key and
 * id (F7), and where its owner has the next life, that is created in the same message.
 */
import { KernelBatch, type KernelPort, OP_CREATE, OP_DELETE, OP_GET } from '../flow/kernel-port.js';
import { keyEqual } from '../flow/merge.js';
import { HAS_ID, OFF_HAS, OFF_ID } from '../flow/record.js';
import { INJECT_BATCH } from '../limits.js';
import type { FlowTable } from '../table/flow-table.js';
import { KERNEL } from '../table/slot-bits.js';
import { UNKNOWN } from './errno.js';
import type { Emptied } from './ports.js';

/** Each question may lead to two requests, and they fit one batch. */
const QUESTIONS = INJECT_BATCH / 2;

/** What the injector does for the endings. */
export interface EndingsOwner {
  /** True if the slot's flow is still to be deleted or replaced. */
  isEnding(slot: number): boolean;
  /** True if the owner has another life of it, which the kernel may take now. */
  hasNext(slot: number): boolean;
  addCreate(batch: KernelBatch, slot: number): void;
  /** The kernel does not have the flow. */
  gone(slot: number): void;
  /** The answer to a create is in the batch. */
  afterCreate(batch: KernelBatch, i: number): void;
  /** A DESTROY that is still to be read is of the life before the one that was just created. */
  confuses(slot: number): void;
}

export interface EndingsParts {
  readonly kernel: KernelPort;
  readonly table: FlowTable;
  readonly emptied: Emptied;
}

export class HotEndings {
  readonly #parts: EndingsParts;
  readonly #owner: EndingsOwner;
  readonly #questions = new KernelBatch(QUESTIONS);
  readonly #actions = new KernelBatch(INJECT_BATCH);
  /** Which questions were answered, and the ids. */
  readonly #found = new Uint8Array(QUESTIONS);
  readonly #ids = new Uint32Array(QUESTIONS);
  #count = 0;
  #emptiedBefore = 0;

  constructor(parts: EndingsParts, owner: EndingsOwner) {
    this.#parts = parts;
    this.#owner = owner;
  }

  /** No further flow can be taken before the next turn. */
  get isFull(): boolean {
    return this.#questions.isFull || this.#count > 0;
  }

  get isEmpty(): boolean {
    return this.#questions.count === 0 && this.#count === 0;
  }

  add(slot: number): void {
    const { table } = this.#parts;
    this.#questions.add(OP_GET, slot, table.memory, table.recordAt(slot));
  }

  /** Forgets what was asked; nothing was deleted by that. */
  clear(): void {
    this.#questions.clear();
    this.#count = 0;
  }

  /** Asks, or deletes what was asked for before the last drain. True if something was done. */
  turn(): boolean {
    if (this.#count > 0) {
      if (this.#parts.emptied() === this.#emptiedBefore) return false;
      this.#delete();
      return true;
    }
    if (this.#questions.count === 0) return false;
    this.#ask();
    return true;
  }

  #ask(): void {
    const { kernel, emptied } = this.#parts;
    const batch = this.#questions;
    kernel.execute(batch);
    for (let i = 0; i < batch.count; i++) {
      const slot = batch.tag[i];
      const found = batch.foundAt[i];
      if (!this.#owner.isEnding(slot)) continue;
      // A GET also finds a flow whose reply tuple this is: that is another one.
      if (found >= 0 && keyEqual(batch.found, found, batch.memory, batch.at[i])) {
        this.#found[this.#count] = i;
        this.#ids[this.#count++] = batch.found.u32[(found + OFF_ID) >>> 2];
      } else if (batch.errno[i] >= 0) this.#owner.gone(slot);
    }
    if (this.#count === 0) batch.clear();
    this.#emptiedBefore = emptied();
  }

  #delete(): void {
    const { kernel, table } = this.#parts;
    const batch = this.#actions;
    for (let i = 0; i < this.#count; i++) {
      const asked = this.#found[i];
      const slot = this.#questions.tag[asked];
      if (!this.#owner.isEnding(slot) || !this.#isKeyOf(slot, asked)) continue;
      const to = batch.add(OP_DELETE, slot, table.memory, table.recordAt(slot));
      batch.memory.u8[to + OFF_HAS] |= HAS_ID;
      batch.memory.u32[(to + OFF_ID) >>> 2] = this.#ids[i];
      if (this.#owner.hasNext(slot)) this.#owner.addCreate(batch, slot);
    }
    this.clear();
    if (batch.count === 0) return;
    kernel.execute(batch);
    for (let i = 0; i < batch.count; i++) {
      const slot = batch.tag[i];
      if (batch.verb[i] === OP_CREATE) {
        this.#owner.afterCreate(batch, i);
        // The old one ended by itself, and its DESTROY comes with the next drain.
        const hasEnded = i > 0 && batch.tag[i - 1] === slot && batch.errno[i - 1] !== 0;
        if (hasEnded && batch.errno[i] === 0) this.#owner.confuses(slot);
        continue;
      }
      const isReplaced = i + 1 < batch.count && batch.verb[i + 1] === OP_CREATE && batch.tag[i + 1] === slot;
      // ENOENT: it has ended, or another life has come, of which an event tells. A lost answer: the next look finds it.
      if (isReplaced) table.clearBits(slot, KERNEL);
      else if (batch.errno[i] !== UNKNOWN) this.#owner.gone(slot);
    }
    batch.clear();
  }

  /** False when the slot's flow has ended since, and another one has the slot. */
  #isKeyOf(slot: number, asked: number): boolean {
    const { table } = this.#parts;
    const { memory, at } = this.#questions;
    return keyEqual(table.memory, table.recordAt(slot), memory, at[asked]);
  }
}
