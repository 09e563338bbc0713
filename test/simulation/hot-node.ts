/** A failover node that takes a peer's stream as a daemon does, and follows it with its kernel. */
import type { CommitParts } from '../../src/failover/commit-work.js';
import { HotStandby } from '../../src/failover/hot-standby.js';
import { durableEqual } from '../../src/flow/merge.js';
import { HAS_ID, MAX_RECORD_BYTES, OFF_HAS } from '../../src/flow/record.js';
import { applyDelete, applyUpsert } from '../../src/replication/ownership.js';
import type { Peer } from '../../src/replication/peer.js';
import type { Self } from '../../src/replication/self.js';
import { DEAD, KERNEL, OWNER_UNCLASSIFIED, SHADOW } from '../../src/table/slot-bits.js';
import { FailoverNode, type TestPeer } from './failover-node.js';
import type { TwinOptions } from './kernel-twin.js';
import { type FlowDescription, makeRecord } from './record-maker.js';

export class HotNode extends FailoverNode {
  readonly hot: HotStandby;
  kernelMaximum = 0;

  constructor(options: Partial<TwinOptions> = {}) {
    super(options);
    this.hot = new HotStandby({
      ...this.parts,
      sources: () => this.peers,
      role: () => this.role,
      kernelMaximum: () => this.kernelMaximum,
    });
    this.hot.audited();
    this.hot.step(this.timeMs);
  }

  override get parts(): CommitParts {
    return { ...super.parts, isGiven: (slot, leftS) => this.hot.isGiven(slot, leftS) };
  }

  /** The peer's stream says UPSERT. Returns the slot. */
  upsert(peer: TestPeer, flow: FlowDescription, bits = 0): number {
    const { m, at } = makeRecord(flow);
    if (at !== 0 || m.u8.length > MAX_RECORD_BYTES) throw new Error('the record must stand at 0');
    m.u8[OFF_HAS] &= ~HAS_ID;
    return applyUpsert(this.#self(), this.#asPeer(peer), m, bits);
  }

  /** The peer's stream says DELETE, or a repair does not name the flow. */
  remove(peer: TestPeer, flow: FlowDescription, isSwept = false): void {
    const slot = this.table.findOwned(peer.owner, makeRecord(flow).m, 0);
    if (slot < 0) throw new Error('the peer has no such flow here');
    applyDelete(this.#self(), slot, isSwept);
  }

  /** Lets time pass, with events read and hot standby at work every few milliseconds. */
  run(ms = 50, stepMs = 5): void {
    for (const end = this.timeMs + ms; this.timeMs < end; this.timeMs += stepMs) {
      this.drain();
      while (this.hot.step(this.timeMs) === 'more') this.drain();
    }
    this.drain();
  }

  /** Why this kernel is not in step with the peer, or undefined. */
  outOfStep(peer: TestPeer): string | undefined {
    for (let slot = 0; slot < this.table.slotLimit; slot++) {
      if (!this.table.isUsed(slot) || this.table.owner(slot) !== peer.owner) continue;
      const bits = this.table.bits(slot);
      if ((bits & (DEAD | SHADOW)) !== 0) continue;
      const at = this.table.recordAt(slot);
      const flow = this.twin.find(this.table.memory, at);
      if (!this.table.hasImage(slot)) return 'a flow that its owner has ended';
      if ((bits & KERNEL) === 0) return 'a flow that is not held';
      if (flow === undefined) return 'KERNEL on a flow that the kernel lacks';
      if (!durableEqual(this.table.memory, at, flow.m, 0)) return 'a flow that the kernel shows otherwise';
    }
    for (const flow of this.twin.flows) {
      const slot = this.table.find(flow.m, 0);
      if (slot < 0 || this.table.owner(slot) <= OWNER_UNCLASSIFIED) return 'a kernel flow of nobody else';
    }
    return undefined;
  }

  #self(): Self {
    const self = {
      ports: {
        table: this.table,
        onReplica: (slot: number) => this.hot.want(slot),
        onConflict: () => undefined,
        now: () => this.timeMs,
      },
      role: this.role,
      stamp: 1,
      seconds: Math.floor(this.timeMs / 1000),
      peerOfOwner: (owner: number) => {
        const peer = this.peers.find((p) => p.owner === owner);
        return peer && this.#asPeer(peer);
      },
    };
    return self as unknown as Self;
  }

  #asPeer(peer: TestPeer): Peer {
    const isLivePrimary = peer.isAlive && peer.role === 'primary';
    return { ...peer, term: peer.primaryTerm, isLivePrimary } as unknown as Peer;
  }
}
