/**
 * The expectations of a commit: created when their masters are in the kernel, one by one, and then given the time they
 * have left, for the kernel takes the helper's policy at a create.
 *
 * | the kernel says       | what follows                                                     |
 * |-----------------------|------------------------------------------------------------------|
 * | 0                     | committed; where the policy has no room it let the oldest go     |
 * | EEXIST                | kept: the kernel expects that flow already                       |
 * | ENOENT, EOPNOTSUPP    | rejected: the master is not there, or has no helper              |
 * | EMFILE, ENOMEM        | rejected: nf_conntrack_expect_max                                |
 * | anything else         | rejected                                                         |
 */
import { EXP_OFF_TIMEOUT, expectationHelper, writeMasterKey } from '../flow/expectation.js';
import { allocateMemory, type Memory } from '../flow/record.js';
import { COMMIT_TRIES } from '../limits.js';
import type { ExpectationEntry } from '../table/expectation-table.js';
import { DEAD, KERNEL, OWNER_SELF } from '../table/slot-bits.js';
import type { ExpectationRejectReason } from './commit-report.js';
import { type CommitWork, REPLACED } from './commit-work.js';
import { EEXIST, EMFILE, ENOENT, ENOMEM, EOPNOTSUPP, UNKNOWN } from './errno.js';
import { DONE, GO_ON } from './slice.js';

/** Expectations created in one turn: a request and its answer each, some 10 us. */
const PER_TURN = 16;

const REASONS: Readonly<Record<number, ExpectationRejectReason>> = {
  [ENOENT]: 'no-master',
  [EOPNOTSUPP]: 'no-helper',
  [EMFILE]: 'kernel-full',
  [ENOMEM]: 'kernel-full',
  [UNKNOWN]: 'unanswered',
};

/** Helpers of the kernel whose policy has room for one expectation a master (max_expected, Linux 6.18). */
const ONE_AT_A_TIME: ReadonlySet<string> = new Set(['ftp', 'tftp']);

interface Wanted {
  readonly record: Memory;
  readonly owner: number;
  readonly isOld: boolean;
  readonly heardS: number;
}

/** The expectations of one commit, in turns. Own ones that the kernel refuses end, and the stream says so. */
export class ExpectationCommit {
  readonly #work: CommitWork;
  readonly #key = allocateMemory(64);
  /** In the order in which they were heard: the newest is the one that an overfull policy keeps. */
  #records: Wanted[] = [];
  #at = 0;

  constructor(work: CommitWork) {
    this.#work = work;
  }

  /** The owner's live expectations are to be committed; of an own commit they are this node's by the time they are. */
  add(owner: number): void {
    const { table } = this.#work.parts;
    for (const { isLive, record, heardS } of table.expectations.list(owner)) {
      if (!isLive) continue;
      const isOld = this.#isOld(record);
      this.#records.push({ record, owner: this.#work.isOwn ? OWNER_SELF : owner, isOld, heardS });
    }
    // What this node gave the peer at a handover stands behind what the peer has said since, and was never heard.
    this.#records.sort((a, b) => a.heardS - b.heardS);
  }

  /**
   * This node is primary already, and the master's packets pass here: what it expects is what this kernel says. A
   * former primary that comes back has what was expected then, and to create that would put out what is expected now.
   */
  #isOld(record: Memory): boolean {
    const { parts, isOwn, isTakeover } = this.#work;
    if (!isOwn || isTakeover || parts.table.expectations.find(OWNER_SELF, record, 0)?.isLive) return false;
    const master = this.#masterOf(record);
    return master >= 0 && parts.table.owner(master) === OWNER_SELF && !this.#work.wasCreated(master);
  }

  /**
   * Its connection has announced another one here, before the commit came to this one: a helper that has room for one
   * would let that go, and the client waits for just that.
   */
  #isOutdated(record: Memory): boolean {
    const { parts, isOwn } = this.#work;
    if (!isOwn || !ONE_AT_A_TIME.has(expectationHelper(record, 0))) return false;
    return parts.table.expectations.hasToldOfSibling(record, 0);
  }

  /** What a source said after it was relabelled is ours as well, and our own stream has said nothing of it yet. */
  takeLate(owner: number): void {
    const { expectations } = this.#work.parts.table;
    this.add(owner);
    for (const entry of expectations.list(owner)) {
      expectations.clearImage(entry);
      expectations.move(entry, OWNER_SELF);
    }
  }

  /** Does a little; GO_ON or DONE. */
  turn(nowMs: number): number {
    const end = Math.min(this.#records.length, this.#at + PER_TURN);
    for (; this.#at < end; this.#at++) this.#commit(this.#at, (nowMs / 1000) >>> 0);
    if (this.#at < this.#records.length) return GO_ON;
    this.#records = [];
    this.#at = 0;
    return DONE;
  }

  #commit(i: number, nowS: number): void {
    const { parts, report } = this.#work;
    const { record, owner, isOld } = this.#records[i];
    const { expectations } = parts.table;
    const known = expectations.find(owner, record, 0);
    if (isOld || this.#isOutdated(record)) {
      parts.counters.count('commit.expectation-old');
      if (known !== undefined) expectations.end(known);
      return;
    }
    const entry = known?.isLive ? known : this.#bringBack(record, owner);
    if (entry === undefined) {
      // Its master did not come into the kernel, or its flow has come already.
      if (this.#masterOf(record) >= 0) return;
      report.expectations.total++;
      this.#reject('no-master');
      return;
    }
    report.expectations.total++;
    const errno = this.#create(entry.record);
    if (errno === 0) {
      report.expectations.committed++;
      this.#setTimeout(entry, nowS);
    } else if (errno === EEXIST) report.expectations.kept++;
    else {
      if (REASONS[errno] === undefined) parts.counters.count(`commit.expectation-errno.${errno}`);
      this.#reject(REASONS[errno] ?? 'refused');
      if (this.#work.isOwn) expectations.end(entry);
    }
  }

  /** An answer that was lost: what was created says EEXIST at the next try, and is as good as committed. */
  #create(record: Memory): number {
    const { kernel } = this.#work.parts;
    for (let i = 1; i < COMMIT_TRIES; i++) {
      const errno = kernel.createExpectation(record, 0);
      if (errno !== UNKNOWN) return errno === EEXIST && i > 1 ? 0 : errno;
    }
    return kernel.createExpectation(record, 0);
  }

  /** What was left when it was heard, less the time since. Without it a registration would end after the policy's. */
  #setTimeout({ record, heardS }: ExpectationEntry, nowS: number): void {
    const { kernel, counters } = this.#work.parts;
    const told = record.u16[EXP_OFF_TIMEOUT >>> 1];
    if (told === 0) return;
    const passed = heardS > 0 ? Math.max(0, nowS - heardS) : 0;
    record.u16[EXP_OFF_TIMEOUT >>> 1] = Math.max(1, told - passed);
    if (kernel.updateExpectation(record, 0) !== 0) counters.count('commit.expectation-timeout');
    record.u16[EXP_OFF_TIMEOUT >>> 1] = told;
  }

  /** The kernel ends what a flow expects when the flow is deleted to be created anew: it is still expected. */
  #bringBack(record: Memory, owner: number): ExpectationEntry | undefined {
    const master = this.#masterOf(record);
    if (master < 0 || !this.#work.has(master, REPLACED)) return undefined;
    return this.#work.parts.table.expectations.put(owner, record, 0);
  }

  /** The slot of the master, if this kernel has it; or -1. */
  #masterOf(record: Memory): number {
    const { table } = this.#work.parts;
    writeMasterKey(record, 0, this.#key);
    const slot = table.find(this.#key, 0);
    return slot >= 0 && (table.bits(slot) & (KERNEL | DEAD)) === KERNEL ? slot : -1;
  }

  #reject(reason: ExpectationRejectReason): void {
    const { rejected } = this.#work.report.expectations;
    rejected[reason] = (rejected[reason] ?? 0) + 1;
    this.#work.parts.counters.count(`commit.expectation-rejected.${reason}`);
  }
}
