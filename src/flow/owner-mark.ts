/** Whose a flow is: what a listing says of each, in one byte. Numbers travel over the control socket: append only. */

export const OWNER_NONE = 0;
/** This node's own: its mirror. */
export const OWNER_OWN = 1;
/** A peer's, and this node's kernel has it. */
export const OWNER_HELD = 2;
/** A peer's, and only its replica has it. */
export const OWNER_REPLICA = 3;
export const OWNER_WORDS = ['none', 'own', 'held', 'replica'] as const;

const NODE_SHIFT = 2;
const OWNER_MASK = (1 << NODE_SHIFT) - 1;

/** OWNER_* and, for a peer's, the peer's number in the listing. */
export const ownerMark = (owner: number, node = 0): number => owner | (node << NODE_SHIFT);
export const ownerOfMark = (mark: number): number => mark & OWNER_MASK;

/** The peer of a mark, or empty. */
export function nodeOfMark(mark: number, nodes: readonly string[]): string {
  return ownerOfMark(mark) < OWNER_HELD ? '' : (nodes[mark >>> NODE_SHIFT] ?? '');
}
