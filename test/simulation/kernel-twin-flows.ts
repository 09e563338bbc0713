/** The kernel twin's conntrack table: flows found by either tuple, walked by dumps in hash order. */
import { AF_INET6 } from '../../src/flow/conntrack-enums.js';
import {
  addressBytes,
  type Memory,
  OFF_FAMILY,
  OFF_ORIG_L4,
  OFF_PROTOCOL,
  OFF_ZONE,
  offReplyL4,
  offReplySrc,
  ZONE_BOTH,
  ZONE_ORIGINAL,
  ZONE_REPLY,
  zoneDirectionOf,
} from '../../src/flow/record.js';

/** One flow of the twin. */
export interface TwinFlow {
  /** The normalised record, at 0. Its timeout is not kept here: see expiresAt. */
  m: Memory;
  readonly id: number;
  readonly original: string;
  readonly reply: string;
  /** When it expires; a flow past it is a corpse until somebody looks (F11). Milliseconds. */
  expiresAt: number;
  /** Born while nobody listened (nf_conntrack_events=2): it never emits an event. */
  readonly isDeaf: boolean;
  /** Lost a clash of two packets (F13): hidden from dumps, found by its reply tuple only. */
  readonly isLoser: boolean;
  /** Its slot in the walk; -1 once it is gone. */
  place: number;
  /** SEEN_* bits of events that were lost and are folded into the next one (reliable delivery). */
  owedSeen: number;
  owesNew: boolean;
  /** Its last event found no room, and is lost. */
  isUnheard?: boolean;
  /** Handed to a flow table: dumps and answers tell neither its protoinfo nor its timeout. */
  isOffloaded?: boolean;
  /** Whether anything of this very life was shown to who listens or asks: no id tells lives apart (F1). */
  isShown: boolean;
  /** Whether its end was told. */
  isEndShown: boolean;
  readonly bornAt: number;
}

function tupleKey(m: Memory, l4At: number, addressesAt: number, at: number, zone: number): string {
  const addr = addressBytes(m, at);
  const family = m.u8[at + OFF_FAMILY] & 0x3f;
  const from = m.u8;
  return `${family === AF_INET6 ? 6 : 4}/${from[at + OFF_PROTOCOL]}/${zone}/${Buffer.from(
    from.buffer,
    from.byteOffset + l4At,
    4,
  ).toString(
    'latin1',
  )}${Buffer.from(from.buffer, from.byteOffset + addressesAt, 2 * addr).toString('latin1')}`;
}

/** The original tuple as the kernel looks it up: with the zone, if the zone holds for this direction. */
export function originalKey(m: Memory, at: number): string {
  const direction = zoneDirectionOf(m, at);
  const zone = direction === ZONE_BOTH || direction === ZONE_ORIGINAL ? m.u16[(at + OFF_ZONE) >>> 1] : 0;
  return tupleKey(m, at + OFF_ORIG_L4, at + OFF_ORIG_L4 + 4, at, zone);
}

/** The reply tuple as the kernel looks it up. */
export function replyKey(m: Memory, at: number): string {
  const addr = addressBytes(m, at);
  const direction = zoneDirectionOf(m, at);
  const zone = direction === ZONE_BOTH || direction === ZONE_REPLY ? m.u16[(at + OFF_ZONE) >>> 1] : 0;
  return tupleKey(m, at + offReplyL4(addr), at + offReplySrc(addr), at, zone);
}

/** Key of the tuple in a PART_MASTER at `part`, in the child's zone. */
export function masterKey(m: Memory, at: number, part: number): string {
  const zone = m.u16[(at + OFF_ZONE) >>> 1];
  const family = m.u8[part + 4];
  const from = m.u8;
  const addr = family === AF_INET6 ? 16 : 4;
  const text = Buffer.from(from.buffer, from.byteOffset + part + 8, 4 + 2 * addr).toString('latin1');
  return `${family === AF_INET6 ? 6 : 4}/${from[part + 5]}/${zone}/${text}`;
}

/** All flows, by tuple and in walking order. */
export class TwinFlows {
  readonly byTuple = new Map<string, TwinFlow>();
  #walk: (TwinFlow | undefined)[] = [];
  #free: number[] = [];
  count = 0;

  /** Length of the walk; places may be empty. */
  get places(): number {
    return this.#walk.length;
  }

  at(place: number): TwinFlow | undefined {
    return this.#walk[place];
  }

  add(flow: TwinFlow): void {
    if (!flow.isLoser) this.byTuple.set(flow.original, flow);
    this.byTuple.set(flow.reply, flow);
    flow.place = this.#free.pop() ?? this.#walk.length;
    this.#walk[flow.place] = flow;
    this.count++;
  }

  remove(flow: TwinFlow): void {
    if (flow.place < 0) return;
    if (this.byTuple.get(flow.original) === flow) this.byTuple.delete(flow.original);
    if (this.byTuple.get(flow.reply) === flow) this.byTuple.delete(flow.reply);
    this.#walk[flow.place] = undefined;
    this.#free.push(flow.place);
    flow.place = -1;
    this.count--;
  }

  /** A resize moves every flow: a walk under way misses some and meets others twice (F12). */
  shuffle(random: () => number): void {
    const flows = this.#walk.filter((flow) => flow !== undefined);
    for (let i = flows.length - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [flows[i], flows[j]] = [flows[j], flows[i]];
    }
    this.#walk = flows;
    this.#free = [];
    for (let i = 0; i < flows.length; i++) flows[i].place = i;
  }

  *[Symbol.iterator](): IterableIterator<TwinFlow> {
    for (const flow of this.#walk) if (flow !== undefined) yield flow;
  }
}
