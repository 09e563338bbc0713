/** Invariants 4, 5 and 19: the table of a node against its kernel, flow by flow. */
import { durableEqual } from '../../../src/flow/merge.js';
import { allocateMemory } from '../../../src/flow/record.js';
import {
  AWAY,
  DEAD,
  KERNEL,
  OWNER_SELF,
  OWNER_UNCLASSIFIED,
  PENDING,
  SHADOW,
} from '../../../src/table/slot-bits.js';
import type { DaemonRun } from './daemon-run.js';
import { durableText, keyText, type Machine, showText } from './machine.js';
import { Violation } from './violation.js';

const row = allocateMemory(1024);

/** Throws a Violation of 4 or 5 if the table is not what the kernel has; all events must have been read. */
export function checkKernel(
  machine: Machine,
  run: DaemonRun,
  nowMs: number,
  when: string,
  isLending: boolean,
  isTakenOver: (machine: Machine, key: string) => boolean,
): void {
  const { table } = run.core;
  const who = `${machine.name} ${when}`;
  let seen = 0;
  let corpses = 0;
  for (const flow of machine.twin.flows) {
    if (flow.isLoser) continue;
    machine.twin.writeRow(flow, row, 0);
    const slot = table.find(row, 0);
    const isShown = slot >= 0 && (table.bits(slot) & (KERNEL | DEAD)) === KERNEL;
    // A promote was stopped before it came to this one: a later one, or who takes it over, judges between the two.
    if (slot >= 0 && (table.bits(slot) & PENDING) !== 0) continue;
    // Expired and not collected: the kernel shows it to nobody, but its end was not told yet.
    if (flow.expiresAt <= nowMs) {
      if (isShown) corpses++;
      continue;
    }
    seen++;
    const key = keyText(row, 0);
    if (!isShown) throw new Violation(4, `${who}: the kernel has ${showText(key)}, the table does not`);
    // What it keeps for another node is that one's word, as old as it is.
    if (table.owner(slot) > OWNER_UNCLASSIFIED || isLending) continue;
    if (durableEqual(table.memory, table.recordAt(slot), row, 0)) continue;
    const mine = showText(durableText(table.memory, table.recordAt(slot)));
    const bits = table.bits(slot);
    throw new Violation(
      4,
      `${who}: the mirror has ${mine} (bits ${bits}), the kernel ${showText(durableText(row, 0))}`,
    );
  }
  const extra = table.kernelCount - pendingOf(run) - seen - corpses;
  if (extra !== 0) {
    throw new Violation(
      4,
      `${who}: ${extra} KERNEL slots more than the kernel's ${seen} flows: ${ghost(machine, run)}`,
    );
  }
  // What it keeps for another node is its own word, and in no kernel.
  if (!isLending) checkOwn(machine, run, who, isTakenOver);
}

/** Own flows are flows of this kernel, now, and nothing that came over the link (invariant 5). */
function checkOwn(
  machine: Machine,
  run: DaemonRun,
  who: string,
  isTakenOver: (machine: Machine, key: string) => boolean,
): void {
  const { table } = run.core;
  for (let slot = 0; slot < table.slotLimit; slot++) {
    if (!table.isUsed(slot) || table.owner(slot) !== OWNER_SELF || (table.bits(slot) & DEAD) !== 0) continue;
    const key = keyText(table.memory, table.recordAt(slot));
    if (!machine.packetAt.has(key) && !isTakenOver(machine, key)) {
      throw new Violation(5, `${who}: ${showText(key)} is own and never was here`);
    }
    // Of what has expired and is not collected, no audit can know, and its end is still to be told.
    const isCorpse = machine.twin.find(table.memory, table.recordAt(slot)) !== undefined;
    if ((table.bits(slot) & (KERNEL | SHADOW | AWAY | PENDING)) === 0 && !isCorpse) {
      throw new Violation(4, `${who}: ${showText(key)} is own, alive, and not in the kernel`);
    }
  }
}

/** Slots that the table has in the kernel and whose commit is still to come. */
function pendingOf(run: DaemonRun): number {
  const { table } = run.core;
  let count = 0;
  for (let slot = 0; slot < table.slotLimit; slot++) {
    if (table.isUsed(slot) && (table.bits(slot) & (KERNEL | PENDING)) === (KERNEL | PENDING)) count++;
  }
  return count;
}

function ghost(machine: Machine, run: DaemonRun): string {
  const { table } = run.core;
  for (let slot = 0; slot < table.slotLimit; slot++) {
    if (!table.isUsed(slot) || (table.bits(slot) & KERNEL) === 0) continue;
    if (machine.twin.find(table.memory, table.recordAt(slot)) !== undefined) continue;
    const key = showText(keyText(table.memory, table.recordAt(slot)));
    return `slot ${slot} of owner ${table.owner(slot)}, bits ${table.bits(slot)}, ${key}`;
  }
  return 'none found';
}
