/** A node for failover tests: kernel twin, table, event rules and a stream that only takes notes. */

import { Audit, type AuditMode } from '../../src/failover/audit.js';
import { AuditGenerations } from '../../src/failover/audit-generations.js';
import { CommitTimeouts } from '../../src/failover/commit-timeouts.js';
import type { CommitParts } from '../../src/failover/commit-work.js';
import type { Role, Seed, SourceView } from '../../src/failover/ports.js';
import { Promotion } from '../../src/failover/promote.js';
import type { PromoteOptions } from '../../src/failover/promote-report.js';
import type { InStep } from '../../src/failover/source-flows.js';
import type { PersistedState } from '../../src/failover/state.js';
import { CounterMap } from '../../src/flow/counters.js';
import { seedFromText } from '../../src/flow/hash.js';
import { KernelBatch, OP_GET } from '../../src/flow/kernel-port.js';
import { durableEqual } from '../../src/flow/merge.js';
import { allocateMemory, copyRecord, MAX_RECORD_BYTES, type Memory } from '../../src/flow/record.js';
import { EventRules } from '../../src/table/event-rules.js';
import { FlowTable } from '../../src/table/flow-table.js';
import { DEAD, KERNEL, OWNER_SELF, PENDING, SHADOW } from '../../src/table/slot-bits.js';
import { KernelTwin, type TwinOptions } from './kernel-twin.js';
import { type FlowDescription, makeRecord } from './record-maker.js';

/** A peer as the test describes it; the record of it in the table is made by `hear`. */
export interface TestPeer extends SourceView {
  role: Role;
  primaryTerm: number;
  isAbsorbed: boolean;
  isAlive: boolean;
  isProven: boolean;
  wholeUpTo: number;
}

/** One node in a test, with a clock that moves a little at each look. */
export class FailoverNode {
  timeMs = 1_000_000;
  role: Role = 'backup';
  term = 0;
  emptied = 0;
  readonly counters = new CounterMap();
  readonly twin: KernelTwin;
  table: FlowTable;
  rules: EventRules;
  generations: AuditGenerations;
  readonly peers: TestPeer[] = [];
  /** What was told to the stream and the disk, in order. */
  readonly notes: string[] = [];
  readonly states: PersistedState[] = [];
  declared: Seed[] = [];
  pinned: readonly number[] = [];
  highestTerm = 0;

  constructor(options: Partial<TwinOptions> = {}) {
    this.twin = new KernelTwin({ now: () => this.timeMs, ...options });
    this.table = this.#newTable();
    this.rules = this.#newRules();
    this.generations = new AuditGenerations(this.table);
  }

  readonly clock = (): number => {
    this.timeMs += 0.01;
    return this.timeMs;
  };

  /** The daemon dies: all memory is gone, kernel and disk stay. */
  restart(): void {
    this.table = this.#newTable();
    this.rules = this.#newRules();
    this.generations = new AuditGenerations(this.table);
    this.peers.length = 0;
  }

  #newTable(): FlowTable {
    return new FlowTable({ seed: seedFromText('test'), maxFlows: 1 << 17 });
  }

  #newRules(): EventRules {
    const batch = new KernelBatch(1);
    return new EventRules({
      table: this.table,
      counters: this.counters,
      now: () => this.timeMs,
      isPrimary: () => this.role === 'primary',
      get: (m, at, found) => {
        batch.clear();
        batch.add(OP_GET, 0, m, at);
        this.twin.execute(batch);
        if (batch.errno[0] !== 0) return false;
        copyRecord(batch.found, batch.foundAt[0], found, 0);
        return true;
      },
    });
  }

  get parts(): CommitParts {
    return {
      kernel: this.twin,
      table: this.table,
      rules: this.rules,
      counters: this.counters,
      clock: this.clock,
      emptied: () => this.emptied,
      timeouts: new CommitTimeouts(),
    };
  }

  audit(mode: AuditMode): Audit {
    return new Audit(
      {
        ...this.parts,
        rules: this.rules,
        generations: this.generations,
        isPrimary: () => this.role === 'primary',
      },
      mode,
    );
  }

  promotion(options: Partial<PromoteOptions> = {}, hot?: InStep): Promotion {
    const node = this;
    return new Promotion(
      {
        ...this.parts,
        ...(hot ? { hot } : {}),
        bootId: 'boot',
        persist: (state) => {
          this.notes.push(`persist ${state.role} ${state.sources.length}`);
          this.states.push(state);
        },
        stream: {
          sources: () => this.peers,
          get highestTerm() {
            return node.highestTerm;
          },
          setRole: (role, term) => {
            this.role = role;
            this.term = term;
            this.notes.push(`role ${role}`);
          },
          pin: (owners) => {
            this.pinned = owners;
          },
          unpin: () => {
            this.pinned = [];
          },
          take: (owner) => this.table.relabel(owner, OWNER_SELF),
          declare: (seeds, _term, stage) => {
            this.declared = [...seeds];
            const names = seeds.map((seed) => `${seed.node}@${seed.cutSequence}`);
            this.notes.push(`${stage} ${names.join(',')}`);
            if (stage !== 'done') return;
            for (const peer of this.peers) {
              if (seeds.some((seed) => seed.node === peer.node)) peer.isAbsorbed = true;
            }
          },
        },
      },
      { role: this.role, term: this.term, wasPrimary: false, wallClockMs: 5000, ...options },
    );
  }

  /** Adds a peer; by default a proven primary that has just died. */
  addPeer(node: string, wish: Partial<TestPeer> = {}): TestPeer {
    const incarnation = new Uint8Array(16).fill(node.charCodeAt(node.length - 1));
    const peer: TestPeer = {
      node,
      incarnation,
      owner: this.table.owners.add(node, incarnation),
      role: 'primary',
      primaryTerm: 7,
      isAbsorbed: false,
      isAlive: false,
      isProven: true,
      wholeUpTo: 100,
      flows: 0,
      isReady: true,
      yields: 0,
      lends: false,
      takenAt: Number.NEGATIVE_INFINITY,
      bootId: `boot-${node}`,
      ...wish,
    };
    this.peers.push(peer);
    return peer;
  }

  /** A peer's UPSERT, as a replica on a backup takes it. Returns the slot. */
  hear(peer: TestPeer, flow: FlowDescription, bits = 0): number {
    const { m } = makeRecord(flow);
    const visible = this.table.find(m, 0);
    const isShadow = visible >= 0 && this.table.owner(visible) !== peer.owner && this.role === 'primary';
    const slot = this.table.insert(m, 0, peer.owner, bits | (isShadow ? SHADOW : 0));
    this.table.currentHash(slot);
    this.table.setImage(slot, this.table.hash.lo, this.table.hash.hi);
    return slot;
  }

  /** Reads events to the end. */
  drain(): void {
    while (this.twin.drain(this.rules, 1));
    this.emptied++;
  }

  /** Steps to the end, with events read in between; fails when that takes too long. */
  finish(work: { step(nowMs: number): boolean }, between?: () => void): void {
    for (let i = 0; i < 200_000; i++) {
      if (work.step(this.timeMs)) {
        this.drain();
        return;
      }
      between?.();
      this.drain();
      this.timeMs += 1;
    }
    throw new Error('the work does not end');
  }

  /** Takes what the stream would say, so that own slots have an image. */
  flush(): string[] {
    const said: string[] = [];
    for (let slot = this.table.nextDirty(); slot >= 0; slot = this.table.nextDirty()) {
      if ((this.table.bits(slot) & DEAD) !== 0) {
        said.push('delete');
        this.table.remove(slot);
        continue;
      }
      said.push('upsert');
      this.table.currentHash(slot);
      this.table.setImage(slot, this.table.hash.lo, this.table.hash.hi);
    }
    return said;
  }

  /** The visible, living slot of the flow, or -1. */
  slotOf(flow: FlowDescription): number {
    const slot = this.table.find(makeRecord(flow).m, 0);
    return slot >= 0 && (this.table.bits(slot) & DEAD) === 0 ? slot : -1;
  }

  /** What the kernel has for the flow's original tuple. */
  kernelRecord(flow: FlowDescription): Memory | undefined {
    return this.twin.find(makeRecord(flow).m, 0)?.m;
  }

  /** Why the own mirror and the kernel differ, or undefined; events must have been read. */
  difference(): string | undefined {
    const row = allocateMemory(MAX_RECORD_BYTES);
    let flows = 0;
    for (const flow of this.twin.flows) {
      if (flow.isLoser || flow.expiresAt <= this.timeMs) continue;
      flows++;
      this.twin.writeRow(flow, row, 0);
      const slot = this.table.find(row, 0);
      if (slot < 0 || (this.table.bits(slot) & DEAD) !== 0) return 'a kernel flow without slot';
      if ((this.table.bits(slot) & KERNEL) === 0) return 'a kernel flow whose slot lacks KERNEL';
      const isSame = durableEqual(this.table.memory, this.table.recordAt(slot), row, 0);
      if (this.table.owner(slot) <= 1 && !isSame) return 'a flow that differs';
    }
    if (this.table.kernelCount !== flows) return `${this.table.kernelCount} KERNEL slots for ${flows} flows`;
    for (let slot = 0; slot < this.table.slotLimit; slot++) {
      if (!this.table.isUsed(slot) || this.table.owner(slot) !== OWNER_SELF) continue;
      const bits = this.table.bits(slot);
      if ((bits & PENDING) !== 0) return 'a flow that still waits';
      if ((bits & (KERNEL | DEAD)) === 0) return 'an own flow that the kernel lacks';
    }
    return undefined;
  }
}
