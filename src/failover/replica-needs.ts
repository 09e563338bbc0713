/** What this kernel must be able to do if it is to take over what the replicas hold. */
import { AF_INET6 } from '../flow/conntrack-enums.js';
import { familyOf, findPart, OFF_PROTOCOL, PART_HELPER, PART_LABELS } from '../flow/record.js';
import { replyIsInverse } from '../flow/tuple.js';
import { HELPERS_MAX, NEEDS_SLOTS } from '../limits.js';
import type { FlowTable } from '../table/flow-table.js';
import { DEAD, OWNER_UNCLASSIFIED, SHADOW } from '../table/slot-bits.js';

export interface FamilyNeeds {
  /** Flows of the family are there, and translated ones among them. */
  hasFlows: boolean;
  hasTranslated: boolean;
}

export interface HelperNeed {
  readonly name: string;
  readonly family: 'ipv4' | 'ipv6';
  readonly protocol: number;
}

export interface Needs {
  /** Flows of the replicas and of this node. */
  flows: number;
  readonly ipv4: FamilyNeeds;
  readonly ipv6: FamilyNeeds;
  hasLabels: boolean;
  /** One of each name, at most HELPERS_MAX. */
  readonly helpers: Map<string, HelperNeed>;
}

/** One walk over the table, some thousand slots a step. */
export class NeedsScan {
  readonly needs: Needs = {
    flows: 0,
    ipv4: { hasFlows: false, hasTranslated: false },
    ipv6: { hasFlows: false, hasTranslated: false },
    hasLabels: false,
    helpers: new Map(),
  };
  readonly #table: FlowTable;
  #at = 0;

  constructor(table: FlowTable) {
    this.#table = table;
  }

  /** True when the walk is over. */
  step(): boolean {
    const table = this.#table;
    const end = Math.min(table.slotLimit, this.#at + NEEDS_SLOTS);
    for (; this.#at < end; this.#at++) if (table.isUsed(this.#at)) this.#look(this.#at);
    return this.#at >= table.slotLimit;
  }

  #look(slot: number): void {
    const table = this.#table;
    if ((table.bits(slot) & (DEAD | SHADOW)) !== 0) return;
    const { needs } = this;
    needs.flows++;
    // What is own stands in this kernel already.
    if (table.owner(slot) <= OWNER_UNCLASSIFIED) return;
    const m = table.memory;
    const at = table.recordAt(slot);
    const family = familyOf(m, at) === AF_INET6 ? 'ipv6' : 'ipv4';
    needs[family].hasFlows = true;
    if (!replyIsInverse(m, at)) needs[family].hasTranslated = true;
    if (findPart(m, at, PART_LABELS) >= 0) needs.hasLabels = true;
    const part = findPart(m, at, PART_HELPER);
    if (part < 0 || needs.helpers.size >= HELPERS_MAX) return;
    const length = m.u16[(part >>> 1) + 1];
    const name = String.fromCharCode(...m.u8.subarray(part + 4, part + 4 + length));
    if (!needs.helpers.has(name))
      needs.helpers.set(name, { name, family, protocol: m.u8[at + OFF_PROTOCOL] });
  }
}
