/**
 * One node, put together from its parts and ports: pure, so that the daemon and the simulator run the same thing.
 *
 *     turn: kernel events -> table, then a slice of the job that runs (audit, promote, ...), then the stream
 *     tick: what time does: heartbeats, acknowledgements, silence
 */
import { Audit, type AuditMode, type AuditParts } from '../failover/audit.js';
import { AuditGenerations } from '../failover/audit-generations.js';
import { CommitTimeouts } from '../failover/commit-timeouts.js';
import type { CommitParts } from '../failover/commit-work.js';
import { ExpectationAudit, type ExpectationAuditParts } from '../failover/expectation-audit.js';
import type { GatePort, Role, StreamPort } from '../failover/ports.js';
import { SeqadjPoll } from '../failover/seqadj-poll.js';
import type { PersistedState } from '../failover/state.js';
import type { Counters } from '../flow/counters.js';
import { seedFromText } from '../flow/hash.js';
import { KernelBatch, type KernelPort, OP_GET } from '../flow/kernel-port.js';
import type { Log } from '../flow/log.js';
import { copyRecord, type Memory } from '../flow/record.js';
import {
  BACKGROUND_PAUSE_SHARE,
  EXPECTATIONS_LOOK_MS,
  EXPECTATIONS_LOOK_PAUSE_SHARE,
  REST_TICK_MS,
  SLICE_BUDGET_MS,
  TICK_MS,
} from '../limits.js';
import type { Mode, PeerEvent, ReplicatorPorts } from '../replication/ports.js';
import { Replicator } from '../replication/replicator.js';
import { EventRules } from '../table/event-rules.js';
import type { ExpectationChoice } from '../table/expectation-rules.js';
import { FlowTable } from '../table/flow-table.js';
import { IdleClasses } from '../table/idle-classes.js';
import { OWNER_SELF, OWNER_UNCLASSIFIED } from '../table/slot-bits.js';
import { YoungFlows } from '../table/young-flows.js';
import type { Cipher } from '../wire/cipher.js';
import { JobQueue, PRIORITY_BACKGROUND, PRIORITY_CHANGE, PRIORITY_CHECK, PRIORITY_START } from './jobs.js';
import { logPeer } from './peer-log.js';
import { RoleChanges } from './role-changes.js';
import { sourceViews } from './source-views.js';
import { SplitBrain } from './split-brain.js';
import { Standby } from './standby.js';

export interface CorePorts {
  readonly kernel: KernelPort;
  /** Sends a frame on a link (its number) or on all (-1); the buffer stays as it is until a thousand further frames were sent. */
  send(frame: Uint8Array, length: number, link: number): void;
  /** Monotonic milliseconds. */
  clock(): number;
  /** Milliseconds since 1970: seeds terms, decides nothing. */
  wallClock(): number;
  /** In [0, 1). */
  random(): number;
  randomBytes(n: number): Uint8Array;
  readonly counters: Counters;
  readonly log: Log;
  persist(state: PersistedState): void;
  /** Left out: no gate. */
  readonly gate?: GatePort;
  /** Seals and opens frames; left out where `security` is none. */
  readonly cipher?: Cipher;
  /** Settings of this node's kernel that should agree in the cluster: (name, text). */
  settings?(): readonly (readonly [name: string, text: string])[];
  /** Flows that the kernel has room for; 0, or left out: not known. */
  kernelMaximum?(): number;
}

export interface CoreOptions {
  readonly node: string;
  readonly cluster: string;
  readonly incarnation: Uint8Array;
  readonly bootId: string;
  /** Smallest MTU of the links, bytes. */
  readonly mtu: number;
  /** How many links there are; 1 unless told otherwise. */
  readonly links?: number;
  /** The smallest receive buffer of the links, bytes as the kernel counts them. */
  readonly receiveBufferBytes?: number;
  readonly mode?: Mode;
  readonly auditIntervalMs: number;
  /** Timeouts of committed flows; an untuned kernel's unless told otherwise. */
  readonly timeouts?: CommitTimeouts;
  readonly maxFlows?: number;
  /** Role and unfinished promote of the run before, same boot only. */
  readonly restored?: PersistedState;
  /** True for flows that never enter the table. */
  readonly ignore?: (m: Memory, at: number) => boolean;
  /** True for records that the stream may speak of: the filter on what changes in a flow's life. */
  readonly passes?: (m: Memory, at: number) => boolean;
  /** Age from which on a flow is told. Milliseconds; absent or 0: at once. */
  readonly minAgeMs?: number;
  /** Which expectations are replicated; all unless told otherwise. */
  readonly expectations?: ExpectationChoice;
  /** hot: a backup's kernel has the primary's flows all along. Cold unless told otherwise. */
  readonly standby?: 'cold' | 'hot';
  /** Unbroken time as a backup after which what is held without need is purged; 0: never. A minute unless told. */
  readonly purgeAfterMs?: number;
  /** True for flows that end on this machine: they are never purged. */
  readonly isLocal?: (m: Memory, at: number) => boolean;
  /** True for flows whose source is translated to an address that has just left this machine. */
  readonly hasLeft?: (m: Memory, at: number) => boolean;
}

/** What the owner of a core does next: another turn at once, after a moment, or when something comes. */
export type TurnState = 'more' | 'wait' | 'idle';

/** Sums of all audits so far, for `status`. */
export interface AuditTotals {
  reason: string;
  runs: number;
  unclean: number;
  repaired: number;
  lastDurationMs: number;
}

export class Core {
  readonly table: FlowTable;
  readonly replicator: Replicator;
  readonly rules: EventRules;
  readonly generations: AuditGenerations;
  readonly ports: CorePorts;
  readonly options: CoreOptions;
  readonly jobs: JobQueue;
  readonly idle: IdleClasses;
  readonly timeouts: CommitTimeouts;
  readonly seqadj: SeqadjPoll;
  readonly standby: Standby;
  readonly roles: RoleChanges;
  readonly splitBrain: SplitBrain;
  readonly #young: YoungFlows | undefined;
  readonly audits: AuditTotals = { reason: '', runs: 0, unclean: 0, repaired: 0, lastDurationMs: 0 };
  /** joining: flows are unclassified, nothing is shipped. ready: all rules of a running node hold. */
  state: 'joining' | 'ready' = 'joining';
  /** Longest turn since it was set to 0, of those in which a role change or a commit ran. Milliseconds. */
  longestChangeMs = 0;
  #emptied = 0;
  #isFirstWhole = false;
  #lostSeen = 0;
  #nextAuditAt = Number.POSITIVE_INFINITY;
  /** A background audit rests until then. */
  #restsUntil = 0;
  #areExpectationsDue = false;
  /** When they are due for one that was not granted yet; 0: none such. */
  #expectationsLookAt = 0;
  /** How long the last look at them took, milliseconds. */
  #expectationsLookMs = 0;
  readonly #question = new KernelBatch(1);

  constructor(ports: CorePorts, options: CoreOptions) {
    this.ports = ports;
    this.options = options;
    // One seed a cluster: see ARCHITECTURE.md, "One hash seed a cluster".
    const seed = seedFromText(options.cluster);
    this.table = new FlowTable({ seed, ...(options.maxFlows ? { maxFlows: options.maxFlows } : {}) });
    this.generations = new AuditGenerations(this.table);
    this.idle = new IdleClasses(this.table);
    this.timeouts = options.timeouts ?? new CommitTimeouts();
    this.seqadj = new SeqadjPoll({ kernel: ports.kernel, table: this.table, counters: ports.counters });
    this.#young = options.minAgeMs ? new YoungFlows(this.table, options.minAgeMs) : undefined;
    this.replicator = this.#makeReplicator();
    this.rules = new EventRules({
      table: this.table,
      counters: ports.counters,
      now: () => ports.clock(),
      isPrimary: () => this.replicator.role === 'primary',
      get: (m, at, found) => this.#ask(m, at, found),
      onHelperAtWork: (slot) => this.seqadj.hurry(slot, ports.clock()),
      onInactiveExpectation: () => this.#lookAgain(),
      ...(options.ignore ? { ignore: options.ignore } : {}),
      ...(options.hasLeft ? { hasLeft: options.hasLeft } : {}),
      ...(options.passes ? { passes: options.passes } : {}),
      ...(options.expectations ? { expectations: options.expectations } : {}),
    });
    this.jobs = new JobQueue(ports.log);
    this.standby = new Standby(this);
    this.roles = new RoleChanges(this);
    this.splitBrain = new SplitBrain(this);
    const { restored } = options;
    if (restored) this.replicator.setRole(restored.role, restored.term);
    if (restored?.openTenure && restored.role !== 'primary') this.replicator.openTenure = restored.openTenure;
    this.audit('first', 'start');
  }

  get role(): Role {
    return this.replicator.role;
  }

  /** Takes one datagram of a link (its number). */
  receive(u8: Uint8Array, from: number, to: number, link: number): void {
    this.replicator.receive(u8, from, to, link, this.ports.clock());
  }

  /** To be called when it is due and after the links were read to empty; every 10 ms or so while there are turns. */
  tick(now: number): void {
    this.replicator.tick(now);
    this.standby.tick(now);
    this.splitBrain.tick(now);
  }

  /**
   * When a tick and a turn are due if nothing comes. Not after `now`: what has come, frames among it, has brought work.
   * Nothing waits longer than REST_TICK_MS, whether it has a time here or not.
   */
  dueAt(now: number): number {
    const due = Math.min(now + REST_TICK_MS, this.replicator.dueAt(now), this.standby.dueAt(now));
    return Math.min(due, this.seqadj.dueAt(now), this.#choresAt(now));
  }

  #choresAt(now: number): number {
    const job = this.jobs.current;
    const isYoungWaiting = this.#young !== undefined && this.#young.count > 0;
    const isIdleTold = this.idle.waiting > 0 && !this.replicator.isParked;
    if (this.state === 'joining' || isYoungWaiting || isIdleTold) return now + TICK_MS;
    if (job !== undefined) return job.priority === PRIORITY_BACKGROUND ? this.#restsUntil : now + TICK_MS;
    if (this.#areExpectationsDue) return now;
    return this.#expectationsLookAt === 0
      ? this.#nextAuditAt
      : Math.min(this.#nextAuditAt, this.#expectationsLookAt);
  }

  /** One slice of everything, some milliseconds at most. Without news (a mere tick) the kernel need not be asked. */
  turn(now: number, hasNews = true): TurnState {
    const state = this.#turn(now, hasNews);
    if (this.jobs.current?.priority === PRIORITY_CHANGE) {
      this.longestChangeMs = Math.max(this.longestChangeMs, this.ports.clock() - now);
    }
    return state;
  }

  #turn(now: number, hasNews: boolean): TurnState {
    const isAsked = hasNews || this.#isWorking(now) || this.standby.isAtWork(now);
    const hasEvents = isAsked && this.ports.kernel.drain(this.rules, SLICE_BUDGET_MS);
    if (isAsked && !hasEvents) this.#emptied++;
    this.#steer(now);
    this.#young?.step(now);
    this.rules.away.step(Math.floor(now / 1000));
    this.seqadj.step(now);
    this.standby.clear(now);
    // What this kernel did by itself is known only when the events were read to empty. Before the job: the row of an audit
    // shows what no event has told yet.
    const standby = isAsked && !hasEvents ? this.standby.step(now) : this.standby.isWaiting ? 'wait' : 'idle';
    const job = this.jobs.step(now);
    const sequence = this.replicator.sequence;
    this.replicator.isRepairDeferred = this.jobs.current?.priority === PRIORITY_CHANGE;
    const hasMore = this.replicator.flush(now);
    if (hasEvents || job === 'more' || standby === 'more') return 'more';
    if (hasMore && this.replicator.sequence !== sequence) return 'more';
    return job === 'wait' || standby === 'wait' || hasMore ? 'wait' : 'idle';
  }

  /** Some job has something to do now; a background audit that rests has not. */
  #isWorking(now: number): boolean {
    const job = this.jobs.current;
    return job !== undefined && (job.priority !== PRIORITY_BACKGROUND || now >= this.#restsUntil);
  }

  /** An audit is due as soon as nothing else runs: own writes and what was not heard meanwhile are to be checked. */
  auditSoon(): void {
    this.#nextAuditAt = 0;
  }

  /** Hot: what this kernel's timers do not tell. */
  get #heldTimes(): Pick<CommitParts, 'isGiven'> {
    if (this.options.standby !== 'hot') return {};
    return { isGiven: (slot, leftS) => this.standby.hot?.isGiven(slot, leftS) ?? false };
  }

  /** What the parts of failover work on. */
  get commitParts(): CommitParts {
    const { kernel, clock, counters, log } = this.ports;
    const { table, rules, timeouts } = this;
    const emptied = () => this.#emptied;
    const held = this.#heldTimes;
    return { kernel, table, rules, counters, clock: () => clock(), emptied, log, timeouts, ...held };
  }

  get auditParts(): AuditParts {
    const { kernel, clock, counters, log } = this.ports;
    return {
      kernel,
      table: this.table,
      generations: this.generations,
      rules: this.rules,
      counters,
      clock: () => clock(),
      log,
      emptied: () => this.#emptied,
      isPrimary: () => this.role === 'primary',
      idle: this.idle,
      seqadj: this.seqadj,
      ...this.#heldTimes,
      ...(this.standby.hot ? { onHeld: (...held) => this.standby.hot?.seen(...held) } : {}),
      ...(this.options.ignore ? { ignore: this.options.ignore } : {}),
      ...(this.options.passes ? { passes: this.options.passes } : {}),
    };
  }

  get expectationAuditParts(): ExpectationAuditParts {
    const { kernel, clock, counters } = this.ports;
    const { table } = this;
    const rules = this.rules.expectations;
    return { kernel, table, rules, counters, clock: () => clock(), emptied: () => this.#emptied };
  }

  /** The stream, as a role change sees it. */
  readonly stream: StreamPort = this.#makeStreamPort();

  #makeStreamPort(): StreamPort {
    const core = this;
    return {
      sources: () => sourceViews(core),
      get highestTerm() {
        return core.replicator.highestTerm;
      },
      setRole: (role, term) => core.replicator.setRole(role, term),
      take: (owner) => core.replicator.take(owner),
      declare: (seeds, term, stage) =>
        core.replicator.declare({
          seeds: seeds.map(({ node, incarnation, cutSequence }) => ({ node, incarnation, cut: cutSequence })),
          term,
          stage,
        }),
      pin: (owners) => core.replicator.pin(owners),
      unpin: () => core.replicator.unpin(),
    };
  }

  /** Compares the table with the kernel and puts it right; a background audit takes its time. */
  audit(mode: AuditMode, reason: string, onDone?: () => void): void {
    const audit = new Audit(this.auditParts, mode);
    const startedAt = this.ports.clock();
    const isPaced = reason === 'background';
    this.audits.reason = reason;
    // Whoever asks for another one meanwhile has seen what this one may have passed already.
    this.#nextAuditAt = Number.POSITIVE_INFINITY;
    this.#restsUntil = 0;
    const end = (isFound: boolean): void => {
      this.#audited(audit, startedAt);
      // What an audit that was cut short would have found is still to be found, at the same pace.
      if (!isFound) this.#nextAuditAt = isPaced ? this.ports.clock() : 0;
      onDone?.();
    };
    this.jobs.add({
      name: 'audit',
      priority: isPaced ? PRIORITY_BACKGROUND : mode === 'first' ? PRIORITY_START : PRIORITY_CHECK,
      step: (now) => {
        if (isPaced && now < this.#restsUntil) return 'idle';
        const beganAt = this.ports.clock();
        const isDone = audit.step(now);
        const endedAt = this.ports.clock();
        if (isPaced) this.#restsUntil = endedAt + (endedAt - beganAt) * BACKGROUND_PAUSE_SHARE;
        const { phase } = audit.progress;
        // Flows that a later attempt finds are nobody's any more, so a first audit has one good attempt.
        const isEnough = mode === 'first' && audit.isWhole && phase === 'pause';
        if (isEnough) audit.abort();
        if (isDone || isEnough) {
          if (mode === 'first') this.#isFirstWhole = true;
          end(isDone);
          return 'done';
        }
        if (isPaced) return 'idle';
        return phase === 'drain' || phase === 'settle' || phase === 'pause' ? 'wait' : 'more';
      },
      abort: () => {
        audit.abort();
        end(false);
      },
      progress: () => ({
        phase: `audit: ${audit.progress.phase}`,
        done: audit.progress.rows,
        total: this.table.kernelCount,
      }),
    });
  }

  /** Compares the own expectations with the kernel's and puts them right: after each audit of the flows, their masters. */
  #auditExpectations(): void {
    const audit = new ExpectationAudit(this.expectationAuditParts, 'repair');
    const startedAt = this.ports.clock();
    this.#areExpectationsDue = false;
    this.#expectationsLookAt = 0;
    this.jobs.add({
      name: 'audit of expectations',
      priority: PRIORITY_BACKGROUND,
      step: (now) => {
        if (!audit.step(now)) return audit.phase === 'settle' || audit.phase === 'pause' ? 'wait' : 'more';
        this.audits.repaired += audit.report.differing;
        this.#expectationsLookMs = this.ports.clock() - startedAt;
        return 'done';
      },
      abort: () => {
        audit.abort();
        this.#areExpectationsDue = true;
      },
      progress: () => ({ phase: audit.phase, done: 0, total: 0 }),
    });
  }

  /** An expectation waits to be granted (a SIP registration), and no event will tell: the kernel is asked soon. */
  #lookAgain(): void {
    if (this.#expectationsLookAt !== 0) return;
    const pauseMs = Math.max(EXPECTATIONS_LOOK_MS, this.#expectationsLookMs * EXPECTATIONS_LOOK_PAUSE_SHARE);
    this.#expectationsLookAt = this.ports.clock() + pauseMs;
  }

  get #isLookDue(): boolean {
    if (this.#areExpectationsDue) return true;
    return this.#expectationsLookAt !== 0 && this.ports.clock() >= this.#expectationsLookAt;
  }

  #audited(audit: Audit, startedAt: number): void {
    this.#areExpectationsDue = true;
    const { attempts, repaired, added, removed, left } = audit.progress;
    const now = this.ports.clock();
    this.audits.runs++;
    this.audits.unclean += Math.max(0, attempts - 1);
    this.audits.repaired += audit.mode === 'first' ? 0 : repaired + added + removed + left;
    this.audits.lastDurationMs = now - startedAt;
    if (this.#nextAuditAt > 0) this.#nextAuditAt = now + this.options.auditIntervalMs;
    this.#lostSeen = Math.max(this.#lostSeen, this.ports.kernel.eventsLost());
    if (audit.isClean) this.standby.hot?.audited();
  }

  /** What has become due: the end of the start, an audit after a loss, the next background audit. */
  #steer(now: number): void {
    if (this.state === 'joining') {
      this.#classify(now);
      return;
    }
    this.roles.step(now);
    if (!this.jobs.isIdle) return;
    const lost = this.ports.kernel.eventsLost();
    if (lost > this.#lostSeen) {
      this.ports.log('warn', 'kernel events were lost, reading the kernel again', {
        lost: lost - this.#lostSeen,
      });
      this.#lostSeen = lost;
      this.audit('repair', 'loss');
    } else if (this.#nextAuditAt === 0 || (now >= this.#nextAuditAt && this.jobs.current === undefined)) {
      this.audit('repair', this.#nextAuditAt === 0 ? 'again' : 'background');
    } else if (this.#isLookDue && this.jobs.current === undefined) this.#auditExpectations();
  }

  /** Whose the flows of the first dump are: a live primary's that speaks of them, else ours (PROTOCOL.md, section 5). */
  #classify(now: number): void {
    if (!this.#isFirstWhole) return;
    if (this.role !== 'primary' && !this.replicator.isJoined(now)) return;
    if (!this.standby.classify()) return;
    this.table.relabel(OWNER_UNCLASSIFIED, OWNER_SELF);
    this.replicator.setMirrorReady();
    this.state = 'ready';
    const peers = this.replicator.peers().filter(({ alive }) => alive).length;
    this.ports.log('info', 'joined', {
      role: this.role,
      peers,
      mirror: this.table.countOf(OWNER_SELF),
      kernel: this.table.kernelCount,
    });
    if (peers === 0) this.ports.log('warn', 'no peer is heard: nothing is replicated', { role: this.role });
  }

  #makeReplicator(): Replicator {
    const { ports, options } = this;
    return new Replicator(
      {
        table: this.table,
        now: () => ports.clock(),
        random: () => ports.random(),
        randomBytes: (n) => ports.randomBytes(n),
        send: (frame, length, link) => ports.send(frame, length, link),
        settings: () => ports.settings?.() ?? [],
        ...(ports.cipher ? { cipher: ports.cipher } : {}),
        counters: ports.counters,
        log: ports.log,
        ...this.#filterPorts(),
        nextIdle: () => this.idle.next(),
        onPeer: (event) => this.#heard(event),
        onConflict: () => ports.counters.count('conflict.own-flow'),
        ...(options.standby === 'hot' ? { onReplica: (slot) => this.standby.hot?.want(slot) } : {}),
      },
      options,
    );
  }

  /** The stream asks at the flush; a filter that lets everything pass is not asked at all. */
  #filterPorts(): Pick<ReplicatorPorts, 'passes'> {
    const { passes } = this.options;
    const young = this.#young;
    if (young === undefined) return passes ? { passes } : {};
    // Age is asked first: it counts from the birth, not from when the rest began to pass.
    return {
      passes: (m, at, slot) => young.admits(slot, this.ports.clock()) && (passes?.(m, at) ?? true),
    };
  }

  #heard(event: PeerEvent): void {
    this.standby.hot?.lookAgain();
    // Whoever is proven is taken over for what he gave back, and for nothing that begins on him after that.
    if (event.type === 'in-sync') this.roles.peerProven();
    logPeer(this.ports.log, event, this.replicator.peers(), this.table);
  }

  #ask(m: Memory, at: number, found: Memory): boolean {
    const batch = this.#question;
    batch.clear();
    batch.add(OP_GET, 0, m, at);
    this.ports.kernel.execute(batch);
    const foundAt = batch.foundAt[0];
    if (foundAt < 0) return false;
    copyRecord(batch.found, foundAt, found, 0);
    return true;
  }
}
