/** The bits of a slot, and the two owners that every table has. */

/** This node's kernel has the flow. Stands on the visible slot of a key only. */
export const KERNEL = 1;
/** The slot is in the dirty queue: its owner (self) has something to say about it. */
export const DIRTY = 2;
/**
 * A life began: the stream must replace, never update. Sticky until flushed. On a held slot: what this kernel has is of
 * a life that its owner has ended or replaced. Sticky until the kernel follows.
 */
export const FRESH = 4;
/** The kernel changed the flow here: the injector leaves it alone until its owner's next UPSERT. */
export const TOUCHED = 8;
/** Own already, its batch is on the way to the kernel. */
export const INJECTING = 16;
/** Tombstone: the flow has ended, the stream (or a running audit) has not let go of it yet. */
export const DEAD = 32;
/** Another slot with the same key is the visible one; this one only keeps its owner's replica exact. */
export const SHADOW = 64;
/** Own, waiting for its turn in a commit. */
export const PENDING = 128;
/** The kernel refused it in a commit. */
export const REJECTED = 256;
/** Tombstone that a running audit needs for two more dump reads. Managed by the table. */
export const KEPT = 512;
/** Own, and younger than `replicate.min_age`: queued again when it is old enough. */
export const YOUNG = 1024;
/** Own, and was found old enough. A new life loses both. */
export const AGED = 2048;
/** A peer's repair did not name the flow that this kernel still has; with DELETE it was named, and that is not set. */
export const SWEPT = 4096;
/** Own, and destroyed by the kernel because its translated address left this node (away-flows.ts). */
export const AWAY = 8192;
/** The slot is in use. Managed by the table. */
export const USED = 0x8000;

/** Owner of what this node's own stream speaks of: the mirror. */
export const OWNER_SELF = 0;
/** Owner of what the first dump found and nobody has claimed yet. */
export const OWNER_UNCLASSIFIED = 1;
