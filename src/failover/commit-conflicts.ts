/** The part of a commit that looks at flows one by one: what does the kernel have there, and what follows? */
import { IPPROTO_GRE, IPS_FIXED_TIMEOUT } from '../flow/conntrack-enums.js';
import { KernelBatch, OP_CREATE, OP_DELETE, OP_GET, OP_GET_REPLY, OP_UPDATE } from '../flow/kernel-port.js';
import { writeMasterKey } from '../flow/master.js';
import { durableEqual, keyEqual } from '../flow/merge.js';
import {
  addressBytes,
  allocateMemory,
  findPart,
  HAS_ID,
  MAX_RECORD_BYTES,
  type Memory,
  OFF_HAS,
  OFF_ID,
  OFF_PROTOCOL,
  OFF_TIMEOUT,
  offStatus,
  PART_MASTER,
} from '../flow/record.js';
import { GRE_COMMIT_S, INJECT_BATCH } from '../limits.js';
import { FRESH, KERNEL, OWNER_UNCLASSIFIED, TOUCHED } from '../table/slot-bits.js';
import { STAGE_ACCEPT, STAGE_CREATE, STAGE_GET, STAGE_GET_EXISTS, STAGE_GET_REPLY } from './commit-queue.js';
import { type CommitWork, HELD, NO_MASTER, OUTCOME_KEPT, OUTCOME_UPDATED } from './commit-work.js';
import { EEXIST, ENOENT, ENOMEM, ENOSPC, EOPNOTSUPP, UNKNOWN } from './errno.js';
import { isLive, JOIN, judge, KEEP, REPLACE, STAY, UPDATE, writeGoal } from './judge.js';

/** Questions in one turn: each may lead to two requests (delete, create), which fill one batch. */
const QUESTIONS = INJECT_BATCH / 2;

/** Works off the queue of a commit. */
export class CommitConflicts {
  readonly #work: CommitWork;
  readonly #questions = new KernelBatch(QUESTIONS);
  readonly #stages = new Uint8Array(QUESTIONS);
  readonly #actions = new KernelBatch(INJECT_BATCH);
  readonly #isRefresh = new Uint8Array(INJECT_BATCH);
  readonly #goal = allocateMemory(MAX_RECORD_BYTES);

  constructor(work: CommitWork) {
    this.#work = work;
  }

  /** Looks at the next few flows of the queue; what they lead to is sent before it returns. */
  turn(): void {
    const work = this.#work;
    const { kernel, table } = work.parts;
    const questions = this.#questions;
    while (!questions.isFull && work.queue.shift()) {
      const { slot, stage } = work.queue;
      if (!work.isPending(slot)) continue;
      this.#stages[questions.count] = stage;
      if (stage === STAGE_CREATE) work.addCreate(questions, slot);
      else {
        const verb = stage === STAGE_GET_REPLY ? OP_GET_REPLY : OP_GET;
        questions.add(verb, slot, table.memory, table.recordAt(slot));
      }
    }
    if (questions.count > 0) kernel.execute(questions);
    for (let i = 0; i < questions.count; i++) {
      if (questions.verb[i] === OP_CREATE) this.afterCreate(questions, i);
      else this.#afterGet(i);
    }
    questions.clear();
    this.#act();
  }

  /** What the answer to a create leads to. */
  afterCreate(batch: KernelBatch, i: number): void {
    const work = this.#work;
    const slot = batch.tag[i];
    const { table } = work.parts;
    if (!work.isPending(slot)) return;
    switch (batch.errno[i]) {
      case 0:
        work.created(slot, batch.memory, batch.at[i]);
        break;
      case EEXIST:
        if (work.tryAgain(slot)) work.enqueue(slot, STAGE_GET_EXISTS);
        else work.reject(slot, 'conflict');
        break;
      case ENOENT:
        this.#masterIsGone(slot, findPart(table.memory, table.recordAt(slot), PART_MASTER) >= 0);
        break;
      case EOPNOTSUPP:
        if (work.dropHelper(slot)) work.enqueue(slot, STAGE_CREATE);
        else work.reject(slot, 'refused');
        break;
      case ENOMEM:
      case ENOSPC:
        if (!work.putOff(slot)) work.reject(slot, 'kernel-full');
        break;
      case UNKNOWN:
        work.maybeCreated(slot);
        if (work.tryAgain(slot)) work.enqueue(slot, STAGE_GET);
        else work.reject(slot, 'unanswered');
        break;
      default:
        work.parts.counters.count(`commit.errno.${batch.errno[i]}`);
        work.reject(slot, 'refused');
    }
  }

  #masterIsGone(slot: number, hasMaster: boolean): void {
    const work = this.#work;
    if (!hasMaster || work.has(slot, NO_MASTER)) {
      work.reject(slot, 'refused');
      return;
    }
    // The master may be one of those that wait, for their turn or for room.
    if (this.#isMasterWaiting(slot) && work.giveBack(slot)) return;
    if ((work.late.length > 0 || this.#isMasterWaiting(slot)) && work.putOff(slot)) return;
    work.dropMaster(slot);
    work.enqueue(slot, STAGE_CREATE);
  }

  #isMasterWaiting(slot: number): boolean {
    const work = this.#work;
    const { table } = work.parts;
    const at = table.recordAt(slot);
    writeMasterKey(table.memory, at, findPart(table.memory, at, PART_MASTER), this.#goal);
    const master = table.find(this.#goal, 0);
    return master >= 0 && work.isPending(master) && (table.bits(master) & KERNEL) === 0;
  }

  #afterGet(i: number): void {
    const work = this.#work;
    const questions = this.#questions;
    const slot = questions.tag[i];
    const stage = this.#stages[i];
    if (!work.isPending(slot)) return;
    const { table } = work.parts;
    const found = questions.foundAt[i];
    if (questions.errno[i] === 0 && found >= 0) {
      // A GET by key also finds a flow whose reply tuple this is.
      const isSame = keyEqual(table.memory, table.recordAt(slot), questions.found, found);
      if (!isSame) this.#judgeHolder(slot, found);
      else if (stage === STAGE_ACCEPT) this.#accept(slot, found);
      else this.#judge(slot, found);
    } else if (questions.errno[i] === ENOENT) {
      // F11: the holder was a corpse, and asking for it has buried it.
      work.enqueue(slot, stage === STAGE_GET_EXISTS ? STAGE_GET_REPLY : STAGE_CREATE);
    } else if (work.tryAgain(slot)) work.enqueue(slot, stage);
    else work.reject(slot, 'unanswered');
  }

  /** The kernel has a flow with the slot's key, as `found` shows it. */
  #judge(slot: number, found: number): void {
    const work = this.#work;
    const { table } = work.parts;
    const kernel = this.#questions.found;
    const m = table.memory;
    const at = table.recordAt(slot);
    const bits = table.bits(slot);
    const isTouched = (bits & TOUCHED) !== 0;
    // An event told that a life began here (EventRules marks it so), or nobody knew of any.
    const isBornHere = !work.has(slot, HELD) || (bits & (TOUCHED | FRESH)) === (TOUCHED | FRESH);
    table.setBits(slot, KERNEL);
    let verdict = judge(m, at, kernel, found, isTouched, isBornHere);
    // Another life with the same fields is never made of this one by an update.
    if (verdict === UPDATE && (bits & FRESH) !== 0) verdict = REPLACE;
    // A backup takes nothing away that its packets have made, until the flow's owner speaks of it again.
    if (verdict === REPLACE && isTouched && work.parts.isSparing === true) verdict = STAY;
    const isOld = !isBornHere && (work.hasOldWindows(slot) || isRunningOut(m, at, kernel, found));
    if (verdict === KEEP && isOld) verdict = REPLACE;
    const isLong = this.isLongEnough(m, at, kernel, found);
    if (verdict === KEEP) {
      work.takeVolatile(slot, kernel, found);
      if (isLong) work.inKernel(slot, OUTCOME_KEPT);
      else this.#update(slot, m, at, found, true);
    } else if (verdict === UPDATE || verdict === JOIN) {
      writeGoal(verdict, m, at, kernel, found, this.#goal, 0);
      const isSame = durableEqual(this.#goal, 0, kernel, found);
      if (!durableEqual(this.#goal, 0, m, at)) work.follow(slot, this.#goal, 0);
      if (isOld) this.#replace(slot, found);
      else if (isSame && isLong) work.inKernel(slot, OUTCOME_KEPT);
      else this.#update(slot, this.#goal, 0, found, isSame);
    } else if (verdict === STAY) work.otherLife(slot, kernel, found);
    else if (verdict === REPLACE) this.#replace(slot, found);
  }

  /** Another flow holds the slot's reply tuple (F6); it stays only if it is live and was born here meanwhile. */
  #judgeHolder(slot: number, found: number): void {
    const work = this.#work;
    const { table, rules, isSparing = false } = work.parts;
    const kernel = this.#questions.found;
    const holder = table.find(kernel, found);
    const isSpared = isSparing && (holder < 0 || table.owner(holder) <= OWNER_UNCLASSIFIED);
    const isBornHere = !isSparing && (holder < 0 || !work.has(holder, HELD));
    if (isSpared || (isBornHere && isLive(kernel, found))) {
      work.reject(slot, 'reply-taken');
      return;
    }
    this.#replace(slot, found);
    // Our own delete is not heard as an event.
    if (holder >= 0 && holder !== slot) rules.gone(holder);
  }

  /** Deletes the kernel's flow by key and id (F7), and creates ours. */
  #replace(slot: number, found: number): void {
    const work = this.#work;
    work.replaced(slot);
    this.#actions.add(OP_DELETE, slot, this.#questions.found, found);
    work.addCreate(this.#actions, slot);
  }

  /** Sends what the kernel's flow is to become; it keeps its id. `isRefresh`: only the timeout is new. */
  #update(slot: number, m: Memory, at: number, found: number, isRefresh: boolean): void {
    this.#isRefresh[this.#actions.count] = isRefresh ? 1 : 0;
    const to = this.#actions.add(OP_UPDATE, slot, m, at);
    this.#work.setTimeout(this.#actions.memory, to);
    const id = this.#questions.found.u32[(found + OFF_ID) >>> 2];
    this.#actions.memory.u32[(to + OFF_ID) >>> 2] = id;
    this.#actions.memory.u8[to + OFF_HAS] |= HAS_ID & this.#questions.found.u8[found + OFF_HAS];
  }

  /** An update failed, and part of it may have been carried out: an own slot follows what the kernel has. */
  #accept(slot: number, found: number): void {
    const work = this.#work;
    const { table, counters } = work.parts;
    counters.count('commit.update-partial');
    if (!durableEqual(table.memory, table.recordAt(slot), this.#questions.found, found)) {
      work.follow(slot, this.#questions.found, found);
    }
    work.inKernel(slot, OUTCOME_UPDATED);
  }

  /** True if the kernel's flow will not expire much earlier than one created from the record at `at` would. */
  isLongEnough(m: Memory, at: number, kernel: Memory, kernelAt: number): boolean {
    const status = (kernelAt + offStatus(addressBytes(kernel, kernelAt))) >>> 2;
    // No update can change a fixed one.
    if (kernel.u32[status] & IPS_FIXED_TIMEOUT) return !isRunningOut(m, at, kernel, kernelAt);
    const left = kernel.u32[(kernelAt + OFF_TIMEOUT) >>> 2];
    return left * 2 >= this.#work.timeoutOf(m, at);
  }

  #act(): void {
    const work = this.#work;
    const actions = this.#actions;
    if (actions.count === 0) return;
    work.parts.kernel.execute(actions);
    for (let i = 0; i < actions.count; i++) {
      const slot = actions.tag[i];
      if (actions.verb[i] === OP_CREATE) this.afterCreate(actions, i);
      else if (actions.verb[i] === OP_UPDATE && work.isPending(slot)) this.#afterUpdate(i);
    }
    actions.clear();
  }

  #afterUpdate(i: number): void {
    const work = this.#work;
    const slot = this.#actions.tag[i];
    const errno = this.#actions.errno[i];
    if (errno === 0) work.inKernel(slot, this.#isRefresh[i] === 1 ? OUTCOME_KEPT : OUTCOME_UPDATED);
    else if (errno === UNKNOWN && work.tryAgain(slot)) work.enqueue(slot, STAGE_GET);
    else {
      if (errno > 0) work.parts.counters.count(`commit.update-errno.${errno}`);
      work.enqueue(slot, errno === ENOENT ? STAGE_CREATE : STAGE_ACCEPT);
    }
  }
}

/**
 * True for a GRE flow of the kernel that lives by a fixed timeout (see GRE_COMMIT_S) of which little is left, or that an
 * update would fix at the little that it has: only a new one has all of it again.
 */
function isRunningOut(m: Memory, at: number, kernel: Memory, kernelAt: number): boolean {
  if (m.u8[at + OFF_PROTOCOL] !== IPPROTO_GRE) return false;
  const status = offStatus(addressBytes(m, at));
  const isFixed = (kernel.u32[(kernelAt + status) >>> 2] & IPS_FIXED_TIMEOUT) !== 0;
  if (isFixed) return kernel.u32[(kernelAt + OFF_TIMEOUT) >>> 2] * 2 < GRE_COMMIT_S;
  return (m.u32[(at + status) >>> 2] & IPS_FIXED_TIMEOUT) !== 0;
}
