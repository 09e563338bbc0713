/** Applies the ops of one frame of a peer to the table. What a frame says is applied once, at its place in the stream. */
import { validateRecord } from '../flow/validate.js';
import { QUARANTINE_MAX } from '../limits.js';
import { FRESH } from '../table/slot-bits.js';
import { OP_BAD, OP_END, OP_REFUSED, OP_UNKNOWN, OpReader } from '../wire/op-reader.js';
import {
  WIRE_DECLARE,
  WIRE_DELETE,
  WIRE_EXPECT_DELETE,
  WIRE_EXPECT_UPSERT,
  WIRE_MARK,
  WIRE_ROLE,
  WIRE_SCOPE_BEGIN,
  WIRE_SCOPE_END,
  WIRE_SUMS,
  WIRE_UPSERT,
} from '../wire/ops.js';
import type { Declarations } from './declarations.js';
import { ExpectationsIn } from './expectations-in.js';
import { applyDelete, applyUpsert } from './ownership.js';
import type { Peer } from './peer.js';
import { OPEN_TENURE, ROLES, STAGES } from './ports.js';
import { RepairJudge } from './repair-judge.js';
import type { Self } from './self.js';

/** A record that failed validation, as it came. */
export interface Quarantined {
  node: string;
  sequence: number;
  reason: string;
  bytes: Uint8Array;
}

export class OpApplier {
  /** The first records that were refused; the rest are only counted. */
  readonly quarantine: Quarantined[] = [];
  readonly judge: RepairJudge;
  readonly #self: Self;
  readonly #declarations: Declarations;
  readonly #ops = new OpReader();
  readonly #expectations: ExpectationsIn;

  constructor(self: Self, declarations: Declarations) {
    this.#self = self;
    this.#declarations = declarations;
    this.#expectations = new ExpectationsIn(self, this.#ops);
    this.judge = new RepairJudge(self, this.#ops, this.#expectations);
  }

  /** Applies the payload that lies from `from` to `to`; its sequence is `peer.applied`. */
  apply(peer: Peer, u8: Uint8Array, from: number, to: number, now: number): void {
    const ops = this.#ops;
    const { counters } = this.#self.ports;
    ops.start(u8, from, to);
    for (;;) {
      const op = ops.next();
      switch (op) {
        case OP_END:
          return;
        case WIRE_UPSERT:
          this.#upsert(peer);
          break;
        case WIRE_DELETE:
          this.#delete(peer);
          break;
        case OP_UNKNOWN:
          counters.count('op.unknown');
          break;
        case OP_REFUSED:
          this.#quarantine(peer, 'malformed');
          break;
        case OP_BAD:
          // What follows cannot be found: it is as good as lost, and asking for the same bytes again would not help.
          peer.openScope = -1;
          this.judge.doubt(peer, 'op.malformed', now);
          return;
        default:
          this.#statement(op, peer, now);
      }
    }
  }

  #upsert(peer: Peer): void {
    const record = this.#ops.record;
    const reason = validateRecord(record, 0, record.u8.length);
    if (reason !== undefined) {
      this.#quarantine(peer, reason);
      return;
    }
    if (applyUpsert(this.#self, peer, record, this.#ops.isFresh ? FRESH : 0) < 0) {
      this.#self.suspect(peer, 'table.full');
    }
  }

  #delete(peer: Peer): void {
    const slot = this.#self.ports.table.findOwned(peer.owner, this.#ops.record, 0);
    if (slot >= 0) applyDelete(this.#self, slot);
    else this.#self.ports.counters.count('op.delete-of-nothing');
  }

  #quarantine(peer: Peer, reason: string): void {
    this.#self.suspect(peer, `quarantine.${reason}`);
    if (this.quarantine.length >= QUARANTINE_MAX) return;
    const bytes = this.#ops.bytes.slice(this.#ops.opStart, this.#ops.opEnd);
    this.quarantine.push({ node: peer.node, sequence: peer.applied, reason, bytes });
    this.#self.ports.log('warn', 'a record from a peer was refused', { node: peer.node, reason });
  }

  #statement(op: number, peer: Peer, now: number): void {
    switch (op) {
      case WIRE_EXPECT_UPSERT: {
        const reason = this.#expectations.upsert(peer, now);
        if (reason !== undefined) this.#quarantine(peer, reason);
        break;
      }
      case WIRE_EXPECT_DELETE:
        this.#expectations.delete(peer);
        break;
      case WIRE_MARK:
        this.judge.mark(peer, now);
        break;
      case WIRE_SCOPE_BEGIN:
        this.judge.scopeBegin(peer, now);
        break;
      case WIRE_SCOPE_END:
        this.judge.scopeEnd(peer, now);
        break;
      case WIRE_SUMS:
        this.judge.sums(peer, now);
        break;
      case WIRE_ROLE:
        this.#role(peer);
        break;
      case WIRE_DECLARE:
        if (this.#self.seeTerm(this.#ops.term)) {
          this.#declare(peer);
        }
        break;
    }
  }

  #declare(peer: Peer): void {
    const { seeds, isFormer, term } = this.#ops;
    const stage = STAGES[this.#ops.stage];
    if (stage === undefined) this.#self.ports.counters.count('op.declare');
    else this.#declarations.receive(peer, { seeds, isFormer, stage, term });
  }

  #role(peer: Peer): void {
    const { role, term } = this.#ops;
    if ((role !== OPEN_TENURE && ROLES[role] === undefined) || !this.#self.seeTerm(term)) {
      this.#self.ports.counters.count('op.role');
      return;
    }
    if (role === OPEN_TENURE && term === 0) peer.wasPrimary = false;
    else if (role === OPEN_TENURE) claimTenure(peer, term);
    else setPeerRole(this.#self, peer, ROLES[role], term);
  }
}

/** Notes a peer's role and term; tells of a change. */
export function setPeerRole(self: Self, peer: Peer, role: Peer['role'], term: number): void {
  const isNews = peer.role !== role || peer.term !== term;
  peer.role = role;
  peer.term = term;
  if (role === 'primary') noteTenure(peer, term);
  if (isNews) self.tell('role', peer);
}

/** Its flows are still its own, whoever said that they were taken over: it has not heard of that. */
function claimTenure(peer: Peer, term: number): void {
  if (term < peer.primaryTerm) return;
  peer.wasPrimary = true;
  peer.primaryTerm = term;
}

/** A tenure that was absorbed stays so: a primary in the same term still has to hear of it. */
function noteTenure(peer: Peer, term: number): void {
  if (term > peer.primaryTerm) peer.wasPrimary = true;
  peer.primaryTerm = Math.max(peer.primaryTerm, term);
}
