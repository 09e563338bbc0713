/**
 * The mutants of PROTOCOL.md, section 10: one change each of the compiled code that a seed of the simulator must
 * notice.
 */
export interface Mutant {
  readonly name: string;
  /** Below dist/. */
  readonly file: string;
  /** Stands exactly once in the file. */
  readonly find: string;
  readonly replace: string;
}

const REPLICATION = 'src/replication/';

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'drop-one-sweep',
    file: `${REPLICATION}repair-judge.js`,
    find: 'this.#sweep(peer, prefix, -1);',
    replace: '',
  },
  {
    name: 'sweep-on-a-gapped-bracket',
    file: `${REPLICATION}stream-in.js`,
    find: 'peer.openScope = -1;',
    replace: '',
  },
  {
    name: 'mark-over-the-mirror',
    file: `${REPLICATION}stream-out.js`,
    find: 'if (!ops.mark(digests, expectations)) {',
    replace:
      'digests.count = this.#self.ports.table.countOf(OWNER_SELF); if (!ops.mark(digests, expectations)) {',
  },
  {
    name: 'xor-instead-of-sum',
    file: 'src/table/digests.js',
    find: 'sums[1] += lo;',
    replace: 'sums[1] ^= lo;',
  },
  {
    name: 'lose-the-delete-of-a-shipped-flow',
    file: `${REPLICATION}slot-writer.js`,
    find: 'this.#delete(slot);\n            table.remove(slot);',
    replace: 'table.remove(slot);',
  },
  {
    name: 'forget-fresh',
    file: 'src/table/event-rules.js',
    find: 'table.setBits(slot, KERNEL | fresh | touched);',
    replace: 'table.setBits(slot, KERNEL | touched);',
  },
  {
    name: 'merge-instead-of-replace',
    file: `${REPLICATION}ownership.js`,
    find: 'keepId(self, slot, m);\n        if (!table.setRecord(slot, m, 0))',
    replace:
      'keepId(self, slot, m);\n        const status = m.u8[12] === 2 ? 40 : 88;\n        m.u8[status] |= table.memory.u8[table.recordAt(slot) + status];\n        if (!table.setRecord(slot, m, 0))',
  },
  {
    name: 'dump-beats-event',
    file: 'src/failover/audit.js',
    find: 'if (slot >= 0 && table.shown(slot) === this.#generation)\n            return; // an event',
    replace: 'if (false)\n            return; // an event',
  },
  {
    name: 'audit-before-the-queue-is-empty',
    file: 'src/failover/audit.js',
    find: 'if (emptied() === this.#emptiedBefore)\n            return WAIT;',
    replace: '',
  },
  {
    name: 'compare-by-id-only',
    file: 'src/table/event-rules.js',
    find: ': haveOtherIds(table.memory, recordAt, m, at) || isNewLife(table.memory, recordAt, m, at);\n        this.#set',
    replace: ': haveOtherIds(table.memory, recordAt, m, at);\n        this.#set',
  },
  {
    name: 'ship-before-mirror-ready',
    file: `${REPLICATION}stream-out.js`,
    find: `if (!this.#self.isMirrorReady || this.#window.isParked)
            return false;`,
    replace: `if (this.#window.isParked)
            return false;`,
  },
  {
    name: 'accept-an-ack-without-proof',
    file: `${REPLICATION}window.js`,
    find: 'if (applied > sequence) {',
    replace: 'if (false) {',
  },
  {
    name: 'keep-the-new-duplicate',
    file: `${REPLICATION}join.js`,
    find: 'if (old === undefined || old.answeredNonceOf < challengedAt) {',
    replace: 'if (true) {',
  },
  {
    name: 'window-ignores-lag',
    file: `${REPLICATION}window.js`,
    find: '#exclude(peer, sequence, now) {',
    replace: '#exclude(peer, sequence, now) {\n        return;',
  },
  {
    name: 'silence-without-drain',
    file: `${REPLICATION}heartbeat.js`,
    find: 'peer.stalled(pause);',
    replace: ';',
  },
  {
    name: 'nack-lost-once-and-never-retried',
    file: `${REPLICATION}nack-asker.js`,
    find: 'this.#retryAt = now + this.#interval;',
    replace: 'this.#retryAt = Number.MAX_VALUE;',
  },
  {
    name: 're-seal-on-resend',
    file: `${REPLICATION}resender.js`,
    find: 'const isOld = sequence - wanted >= RING_FRAMES / 2;',
    replace: 'frame[length - 1] ^= 1; const isOld = sequence - wanted >= RING_FRAMES / 2;',
  },
  {
    name: 'seeds-marked-proven',
    file: `${REPLICATION}declarations.js`,
    find: "self.suspect(peer, 'stream.declared');\n        self.tell('declared', peer);",
    replace: "peer.verdict = 'proven'; peer.verdictAt = peer.applied; self.tell('declared', peer);",
  },
  {
    name: 'drop-the-pin',
    file: `${REPLICATION}self.js`,
    find: 'return this.pinned.has(owner);',
    replace: 'return false;',
  },
  {
    name: 'resurrect-unchanged-slots-after-a-split',
    file: `${REPLICATION}declarations.js`,
    find: 'if (table.hasImage(slot) && (bits & DIRTY) === 0 && this.#isPeers(y, slot)) {',
    replace: 'if (false) {',
  },
  {
    name: 'give-away-what-began-since-the-cut',
    file: `${REPLICATION}declarations.js`,
    find: 'table.changedAt(slot) <= stamp && ',
    replace: '',
  },
  {
    name: 'end-the-tenure-with-what-began-in-it',
    file: `${REPLICATION}declarations.js`,
    find: 'this.#begin(waiting.peer, waiting.cut, waiting.stamp, false);',
    replace: 'this.#begin(waiting.peer, waiting.cut, waiting.stamp, true);',
  },
  {
    name: 'stop-applying-at-promote',
    file: 'src/failover/promote.js',
    find: "return this.#scan((slot) => this.#flows.markLate(slot), 'late-commit');",
    replace: "return this.#scan(() => {}, 'late-commit');",
  },
  {
    name: 'own-after-inject',
    file: 'src/failover/promote.js',
    find: 'for (const { owner } of this.#sources)\n            stream.take(owner);\n        this.#early',
    replace:
      'for (const { owner } of this.#sources)\n            void Promise.resolve().then(() => stream.take(owner));\n        this.#early',
  },
  {
    name: 'own-write-not-shown',
    file: 'src/failover/commit-work.js',
    find: 'if (!isLate && this.parts.emptied() === this.#emptiedBefore)\n                return false;',
    replace: '',
  },
  {
    name: 'commit-lowest-term-first',
    file: 'src/failover/sources.js',
    find: '.sort((a, b) => b.primaryTerm - a.primaryTerm ||',
    replace: '.sort((a, b) => a.primaryTerm - b.primaryTerm ||',
  },
  {
    name: 'purge-ignores-touched',
    file: 'src/failover/purge.js',
    find: "TOUCHED } from '../table/slot-bits.js';",
    replace: "} from '../table/slot-bits.js'; const TOUCHED = 0;",
  },
];
