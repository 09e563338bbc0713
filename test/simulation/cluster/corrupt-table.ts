/** Breaks the mirror of a node in ways that only an audit can find (invariant 19). */
import { addressBytes, allocateMemory, copyRecord, OFF_ORIG_L4, offMark } from '../../../src/flow/record.js';
import { DEAD, DIRTY, KERNEL, OWNER_SELF } from '../../../src/table/slot-bits.js';
import type { Random } from '../random.js';
import { keyText, type Machine } from './machine.js';

const TRIES = 50;
const scratch = allocateMemory(1024);

/** Changes one own slot: another mark, an end that was none, a lost KERNEL bit, or a flow that never was. */
export function corruptTable(machine: Machine, random: Random): void {
  const { run } = machine;
  if (run === undefined || !run.isReady || !run.isUp) return;
  const { table } = run.core;
  const slot = ownSlot(machine, random);
  if (slot < 0) return;
  copyRecord(table.memory, table.recordAt(slot), scratch, 0);
  const kind = random.below(4);
  if (kind === 0) {
    scratch.u32[offMark(addressBytes(scratch, 0)) >>> 2] ^= 0x8000;
    table.setRecord(slot, scratch, 0);
    table.markDirty(slot);
  } else if (kind === 1) {
    table.clearBits(slot, KERNEL);
    if (table.hasImage(slot)) table.setBits(slot, DEAD | DIRTY);
    else table.remove(slot);
  } else if (kind === 2) table.clearBits(slot, KERNEL);
  else {
    scratch.u32[OFF_ORIG_L4 >>> 2] = (0x4000_0000 | random.below(0xffff)) >>> 0;
    machine.sees(keyText(scratch, 0));
    const made = table.find(scratch, 0) < 0 ? table.insert(scratch, 0, OWNER_SELF, KERNEL) : -1;
    if (made >= 0) table.markDirty(made);
  }
  machine.hide();
  run.core.auditSoon();
  run.news();
}

function ownSlot(machine: Machine, random: Random): number {
  const { table } = machine.run!.core;
  for (let i = 0; i < TRIES; i++) {
    const slot = random.below(Math.max(1, table.slotLimit));
    if (table.isUsed(slot) && table.owner(slot) === OWNER_SELF && (table.bits(slot) & DEAD) === 0)
      return slot;
  }
  return -1;
}
