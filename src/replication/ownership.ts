/**
 * Who has a flow of which two streams speak (PROTOCOL.md, sections 2 and 6). The loser's record becomes a
 * SHADOW, so that each replica stays exact; the visible slot is what a lookup finds and what the kernel bit
 * stands on.
 */
import { isBeyondUpdate, isNewLife } from '../flow/merge.js';
import { HAS_ID, type Memory, OFF_HAS, OFF_ID } from '../flow/record.js';
import {
  DEAD,
  DIRTY,
  FRESH,
  KERNEL,
  OWNER_SELF,
  OWNER_UNCLASSIFIED,
  REJECTED,
  SHADOW,
  SWEPT,
  TOUCHED,
} from '../table/slot-bits.js';
import { outranks, type Peer } from './peer.js';
import type { Self } from './self.js';

/** What no longer counts about a slot when its owner speaks of the flow again. */
const CLEARED_BY_UPSERT = TOUCHED | DEAD | REJECTED | SWEPT;

/**
 * Puts the peer's record (at 0 of `m`) into its slot, which is made if need be, and notes its image.
 * Returns the slot, or -1 when the table is full. The ct id that this kernel gave stays with the visible
 * slot.
 */
export function applyUpsert(self: Self, peer: Peer, m: Memory, bits: number): number {
  const table = self.ports.table;
  table.locate(peer.owner, m, 0);
  const isHot = self.ports.onReplica !== undefined;
  if (isHot && isOtherThanKernels(self, m)) bits |= FRESH;
  let slot = table.owned;
  let isNews = true;
  if (slot >= 0) {
    keepId(self, slot, m);
    if (!table.setRecord(slot, m, 0)) return -1;
    const before = table.bits(slot);
    isNews = (before & (TOUCHED | KERNEL)) !== KERNEL;
    if ((before & CLEARED_BY_UPSERT) !== 0) table.clearBits(slot, CLEARED_BY_UPSERT);
    if (bits !== 0) table.setBits(slot, bits);
  } else {
    slot =
      table.visible < 0 ? table.insertNew(m, 0, peer.owner, bits) : claim(self, peer, table.visible, m, bits);
    if (slot < 0) return -1;
  }
  table.currentHash(slot);
  const { lo, hi } = table.hash;
  // Said again (a repair, an idle class) is named anew, but no change of the flow: a commit goes by the time of that.
  const isSame = (bits & FRESH) === 0 && table.imageLo(slot) === lo && table.imageHi(slot) === hi;
  if (!isSame) table.setImage(slot, lo, hi);
  table.setChangedAt(slot, self.stamp, isSame ? table.changedTime(slot) : self.seconds);
  if (isHot && (isNews || !isSame)) self.ports.onReplica?.(slot);
  return slot;
}

/**
 * The peer's stream no longer has the flow: it said so, or a repair did not name it (`isSwept`). A flow that this
 * kernel holds stays held, without an image; hot standby deletes it.
 */
export function applyDelete(self: Self, slot: number, isSwept = false): void {
  const { table, onReplica } = self.ports;
  if ((table.bits(slot) & KERNEL) === 0) {
    table.remove(slot);
    return;
  }
  table.clearImage(slot);
  table.setChangedAt(slot, self.stamp, self.seconds);
  if (onReplica === undefined) return;
  table.setBits(slot, isSwept ? FRESH | SWEPT : FRESH);
  onReplica(slot);
}

/**
 * True if this kernel has the key of the record, but another life of it: an update would change what cannot be changed,
 * or make the new life of the old one. To be asked after locate().
 */
function isOtherThanKernels(self: Self, m: Memory): boolean {
  const { table } = self.ports;
  const { visible } = table;
  if (visible < 0 || (table.bits(visible) & KERNEL) === 0) return false;
  // Its owner had ended it.
  if (table.owner(visible) > OWNER_UNCLASSIFIED && !table.hasImage(visible)) return true;
  const at = table.recordAt(visible);
  return isNewLife(table.memory, at, m, 0) || isBeyondUpdate(table.memory, at, m, 0);
}

/** A slot for a flow of which the peer speaks for the first time, and another owner already. */
function claim(self: Self, peer: Peer, visible: number, m: Memory, bits: number): number {
  const table = self.ports.table;
  const owner = table.owner(visible);
  if (owner === OWNER_UNCLASSIFIED) {
    // What this kernel had before the start belongs to the primary that speaks of it: it is held. What a
    // backup speaks of is its own local flow with the same tuple (broadcasts), and no reason to give ours
    // away.
    if (!peer.isLivePrimary) return table.insert(m, 0, peer.owner, bits | SHADOW);
    keepId(self, visible, m);
    table.clearBits(visible, TOUCHED);
    table.setOwner(visible, peer.owner);
    if (bits !== 0) table.setBits(visible, bits);
    return table.setRecord(visible, m, 0) ? visible : -1;
  }
  if (owner === OWNER_SELF) return claimOwn(self, peer, visible, m, bits);
  const holder = self.peerOfOwner(owner);
  if (holder !== undefined && outranks(holder, peer)) return table.insert(m, 0, peer.owner, bits | SHADOW);
  keepId(self, visible, m);
  return table.insert(m, 0, peer.owner, bits);
}

function claimOwn(self: Self, peer: Peer, visible: number, m: Memory, bits: number): number {
  const table = self.ports.table;
  const isDead = (table.bits(visible) & DEAD) !== 0;
  // While it hands over, what it has changed itself is still to be joined by the new primary.
  const mayYield = self.role !== 'primary' && self.ports.now() >= self.handsOverUntil;
  const isYielded = isDead || (mayYield && peer.isLivePrimary);
  if (!isYielded) {
    const shadow = table.insert(m, 0, peer.owner, bits | SHADOW);
    if (shadow >= 0 && self.role === 'primary') self.ports.onConflict(visible, shadow);
    return shadow;
  }
  if (!isDead) keepId(self, visible, m);
  const slot = table.insert(m, 0, peer.owner, bits);
  if (slot < 0 || isDead) return slot;
  // Ours ended here: the peers are told so, if they were told of it at all.
  if (table.hasImage(visible)) table.setBits(visible, DEAD | DIRTY);
  else table.remove(visible);
  return slot;
}

/** The record on its way into the place of `slot` takes over the id that this kernel gave the flow. */
function keepId(self: Self, slot: number, m: Memory): void {
  const memory = self.ports.table.memory;
  const at = self.ports.table.recordAt(slot);
  if ((memory.u8[at + OFF_HAS] & HAS_ID) === 0) return;
  m.u8[OFF_HAS] |= HAS_ID;
  m.u32[OFF_ID >>> 2] = memory.u32[(at + OFF_ID) >>> 2];
}
