/**
 * The invariants of PROTOCOL.md, section 9, by number, and further rules of its sections 2 to 4 that a run can see
 * broken, from 101 on.
 */
export const INVARIANTS = {
  1: "a proven replica equals its owner's image",
  2: 'proven if and only if the bytes are equal',
  3: 'each sequence is applied once, in order, and a hole makes suspect',
  4: 'the KERNEL slots are the kernel',
  5: 'no echo: own is only what this kernel had',
  6: 'no delete hits another life than the one decided on',
  7: 'a restart shrinks no replica before mirrorReady; no sweep by a gapped bracket',
  8: 'after a promote every flow of the sources is in the kernel, or in the report',
  9: 'what has ended on its owner leaves every kernel in time, and nothing else does',
  10: 'no replica of a primary is dropped before it was absorbed',
  11: 'in peace one unabsorbed primary is left, and terms rise along promotes',
  12: 'a (key, counter) has one plaintext',
  13: 'no state changes through a frame of an unproven incarnation',
  14: 'after quiet all live replicas are proven, for few bytes',
  15: 'work per hostile input is bounded',
  16: 'memory limits hold',
  17: 'a receiver that does not advance delays the others by a second at most',
  18: 'heartbeats stand 400 ms apart at most while the loop runs',
  19: 'a clean audit heals the table',
  20: 'a promote that is made again, or cut short and made again, is one',
  21: 'no child is created before its master',
  22: 'steps of the wall clock change no decision',
  23: 'the same seed gives the same trace',
  101: 'nothing is shipped before mirrorReady',
  102: 'an UPSERT of another life says FRESH',
  103: 'silence is judged only after the socket was read',
  104: 'a living incarnation keeps its name against a newcomer',
  105: 'nobody has acknowledged what was never sent',
  106: 'the daemon does not throw',
  107: 'what has ended on the primary does not return',
  108: 'of two sources the one with the higher term is believed',
  109: 'what a commit has written is in the table, as it was written',
  110: 'what began on the loser of a split brain survives',
} as const;

export type InvariantNumber = keyof typeof INVARIANTS;

/** An invariant was broken. */
export class Violation extends Error {
  override readonly name = 'Violation';
  readonly invariant: InvariantNumber;

  constructor(invariant: InvariantNumber, details: string, cause?: unknown) {
    super(`invariant ${invariant} (${INVARIANTS[invariant]}): ${details}`, { cause });
    this.invariant = invariant;
  }
}
