/** What the kernel twin does with create, update and delete: the errno table of FACTS.md, section 4. */
import {
  IPPROTO_TCP,
  IPS_ASSURED,
  IPS_DST_NAT,
  IPS_EXPECTED,
  IPS_FIXED_TIMEOUT,
  IPS_SEEN_REPLY,
  IPS_SRC_NAT,
} from '../../src/flow/conntrack-enums.js';
import { EVENT_NEW, EVENT_UPDATE } from '../../src/flow/kernel-port.js';
import { normalise, protoBitsOf } from '../../src/flow/normalise.js';
import {
  addressBytes,
  allocateMemory,
  copyRecord,
  findPart,
  HAS_ID,
  HAS_TIMEOUT,
  MAX_RECORD_BYTES,
  type Memory,
  OFF_HAS,
  OFF_ID,
  OFF_LENGTH,
  OFF_ORIG_L4,
  OFF_ORIG_SRC,
  OFF_PROTOCOL,
  OFF_TIMEOUT,
  offMark,
  offParts,
  offProtoBits,
  offReplyDst,
  offReplyL4,
  offState,
  offStatus,
  PART_HELPER,
  PART_LABELS,
  PART_MASTER,
  PART_SEQADJ_ORIG,
  PART_SEQADJ_REPLY,
  PART_SYNPROXY,
} from '../../src/flow/record.js';
import { inverseL4, replyIsInverse } from '../../src/flow/tuple.js';
import type { KernelTwin } from './kernel-twin.js';
import { cloneRecord, SEEN_EVERYTHING } from './kernel-twin-events.js';
import { masterKey, originalKey, replyKey, type TwinFlow } from './kernel-twin-flows.js';
import { filterParts } from './record-parts.js';

const EPERM = 1;
const ENOENT = 2;
const ENOMEM = 12;
const EBUSY = 16;
const EEXIST = 17;
const EINVAL = 22;
const ENOSPC = 28;
const ERANGE = 34;
const EOPNOTSUPP = 95;

/** Text of the helper part, or undefined. */
function helperOf(m: Memory, at: number): string | undefined {
  const part = findPart(m, at, PART_HELPER);
  if (part < 0) return undefined;
  return Buffer.from(m.u8.subarray(part + 4, part + 4 + m.u16[(part >>> 1) + 1])).toString('latin1');
}

/** NAT bits as the kernel sets them: from what differs between the reply tuple and the inverse. */
export function natBits(m: Memory, at: number): number {
  if (replyIsInverse(m, at)) return 0;
  const addr = addressBytes(m, at);
  const reply = inverseL4(m.u8[at + OFF_PROTOCOL], m.u32[(at + offReplyL4(addr)) >>> 2]);
  const original = m.u32[(at + OFF_ORIG_L4) >>> 2];
  const words = addr >>> 2;
  let isSource = (reply & 0xffff) !== (original & 0xffff);
  let isDestination = reply >>> 16 !== original >>> 16;
  const from = (at + OFF_ORIG_SRC) >>> 2;
  const back = (at + offReplyDst(addr)) >>> 2;
  for (let i = 0; i < words; i++) {
    if (m.u32[from + i] !== m.u32[back + i]) isSource = true;
    if (m.u32[from + words + i] !== m.u32[back - words + i]) isDestination = true;
  }
  return (isSource ? IPS_SRC_NAT : 0) | (isDestination ? IPS_DST_NAT : 0);
}

/** OP_CREATE with NLM_F_EXCL. */
export function createFlow(twin: KernelTwin, m: Memory, at: number, portId: number | undefined): number {
  if (twin.lookup(originalKey(m, at)) !== undefined) return EEXIST;
  const addr = addressBytes(m, at);
  if ((m.u8[at + OFF_HAS] & HAS_TIMEOUT) === 0) return EINVAL;
  if (twin.flows.count >= twin.knobs.maxFlows) return ENOMEM;
  const helper = helperOf(m, at);
  if (helper !== undefined && helper.length >= 16) return EINVAL;
  if (helper !== undefined && !twin.knobs.helpers.has(helper)) return EOPNOTSUPP;
  if (m.u8[at + OFF_PROTOCOL] === IPPROTO_TCP && m.u8[at + offState(addr)] > 9) return ERANGE;
  const master = findPart(m, at, PART_MASTER);
  if (master >= 0 && twin.lookup(masterKey(m, at, master)) === undefined) return ENOENT;
  // The insert looks for the reply tuple too, and here a corpse counts (F11); a holder: F6.
  const holder = twin.flows.byTuple.get(replyKey(m, at));
  if (holder !== undefined) return EEXIST;
  if (m.u32[(at + OFF_TIMEOUT) >>> 2] === 0) return 0; // created and gone

  const scratch = allocateMemory(MAX_RECORD_BYTES);
  copyRecord(m, at, scratch, 0);
  const status = offStatus(addr) >>> 2;
  scratch.u32[status] &= IPS_SEEN_REPLY | IPS_ASSURED | IPS_FIXED_TIMEOUT;
  scratch.u32[status] |= natBits(scratch, 0) | (master >= 0 ? IPS_EXPECTED : 0);
  // The kernel shows window scales and flags of every TCP flow, 0 where none were given.
  if (m.u8[at + OFF_PROTOCOL] === IPPROTO_TCP) scratch.u8[offProtoBits(addr)] = protoBitsOf(IPPROTO_TCP);
  if (!twin.knobs.hasLabels) filterParts(scratch, 0, (type) => type !== PART_LABELS);
  normalise(scratch, 0);
  const flow = twin.insert(scratch, 0, {});
  twin.emit(EVENT_NEW, flow, SEEN_EVERYTHING, portId);
  return 0;
}

/** Replaces the parts of `types` in the flow by those of the request, where the request has them. */
function replaceParts(flow: TwinFlow, m: Memory, at: number, types: readonly number[]): void {
  const named = types.filter((type) => findPart(m, at, type) >= 0);
  if (named.length === 0) return;
  const scratch = allocateMemory(MAX_RECORD_BYTES);
  const merged = allocateMemory(MAX_RECORD_BYTES);
  copyRecord(flow.m, 0, scratch, 0);
  copyRecord(flow.m, 0, merged, 0);
  let to = offParts(addressBytes(flow.m, 0));
  for (let type = 1; type < 0x80; type++) {
    const source = named.includes(type) ? m : scratch;
    const part = findPart(source, source === m ? at : 0, type);
    if (part < 0) continue;
    const bytes = 4 + ((source.u16[(part >>> 1) + 1] + 3) & ~3);
    merged.u8.set(source.u8.subarray(part, part + bytes), to);
    to += bytes;
  }
  merged.u16[OFF_LENGTH >>> 1] = to;
  normalise(merged, 0);
  flow.m = cloneRecord(merged, 0);
}

/** OP_UPDATE: in the kernel's order, and what came before a failure stays. F4: a reply tuple changes nothing. */
export function updateFlow(twin: KernelTwin, m: Memory, at: number, portId: number | undefined): number {
  const flow = twin.lookup(originalKey(m, at));
  if (flow === undefined) return ENOENT;
  const addr = addressBytes(m, at);
  const helper = helperOf(m, at);
  const ownHelper = helperOf(flow.m, 0);
  if (helper !== undefined && ownHelper === undefined) return EOPNOTSUPP;
  if (helper !== undefined && helper !== ownHelper) return EBUSY;

  const status = offStatus(addr) >>> 2;
  const before = flow.m.u32[status];
  const wanted = m.u32[(at + offStatus(addr)) >>> 2];
  const hasTimeout = (m.u8[at + OFF_HAS] & HAS_TIMEOUT) !== 0 && (wanted & IPS_FIXED_TIMEOUT) === 0;
  if (hasTimeout) {
    if (before & IPS_FIXED_TIMEOUT) return EPERM;
    flow.expiresAt = twin.now() + m.u32[(at + OFF_TIMEOUT) >>> 2] * 1000;
  }
  // F5, and on a related flow EXPECTED has to be there.
  if (before & ~wanted & (IPS_SEEN_REPLY | IPS_ASSURED | IPS_EXPECTED)) return EBUSY;
  if (wanted & ~before & IPS_EXPECTED) return EBUSY;
  flow.m = cloneRecord(flow.m, 0);
  flow.m.u32[status] = before | (wanted & (IPS_SEEN_REPLY | IPS_ASSURED | IPS_FIXED_TIMEOUT));

  if (m.u8[at + offProtoBits(addr)] !== 0) {
    if (m.u8[at + OFF_PROTOCOL] === IPPROTO_TCP && m.u8[at + offState(addr)] > 9) return ERANGE;
    flow.m.u32[offState(addr) >>> 2] = m.u32[(at + offState(addr)) >>> 2];
  }
  flow.m.u32[offMark(addr) >>> 2] = m.u32[(at + offMark(addr)) >>> 2];
  replaceParts(flow, m, at, [PART_SEQADJ_ORIG, PART_SEQADJ_REPLY, PART_SYNPROXY]);
  if (findPart(m, at, PART_LABELS) >= 0 && !twin.knobs.hasLabels) return ENOSPC;
  replaceParts(flow, m, at, [PART_LABELS]);
  twin.emit(EVENT_UPDATE, flow, SEEN_EVERYTHING, portId);
  return 0;
}

/** OP_RETIME. */
export function retimeFlow(twin: KernelTwin, m: Memory, at: number, portId: number | undefined): number {
  const flow = twin.lookup(originalKey(m, at));
  if (flow === undefined) return ENOENT;
  if (flow.m.u32[offStatus(addressBytes(flow.m, 0)) >>> 2] & IPS_FIXED_TIMEOUT) return EPERM;
  flow.expiresAt = twin.now() + m.u32[(at + OFF_TIMEOUT) >>> 2] * 1000;
  twin.emit(EVENT_UPDATE, flow, SEEN_EVERYTHING, portId);
  return 0;
}

/** OP_DELETE: F7, a wrong id is ENOENT. */
export function destroyFlow(twin: KernelTwin, m: Memory, at: number, portId: number | undefined): number {
  const flow = twin.lookup(originalKey(m, at));
  if (flow === undefined) return ENOENT;
  if (m.u8[at + OFF_HAS] & HAS_ID && m.u32[(at + OFF_ID) >>> 2] !== flow.id) return ENOENT;
  if (portId !== undefined) twin.die(flow, portId);
  else {
    twin.flows.remove(flow);
    twin.expectations.masterGone(flow);
  }
  return 0;
}
