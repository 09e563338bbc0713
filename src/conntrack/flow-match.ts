/** Whether a flow is one that the command line asks for: compiled once, asked per record, nothing allocated. */
import { AF_INET6, IPPROTO_DCCP, IPS_DST_NAT, IPS_SRC_NAT } from '../flow/conntrack-enums.js';
import {
  addressBytes,
  findPart,
  HAS_ID,
  type Memory,
  OFF_HAS,
  OFF_ID,
  OFF_ORIG_L4,
  OFF_ORIG_SRC,
  OFF_PROTOCOL,
  OFF_TIMEOUT,
  OFF_ZONE,
  offMark,
  offOrigDst,
  offProtoBits,
  offReplyDst,
  offReplyL4,
  offReplySrc,
  offState,
  offStatus,
  PART_LABELS,
  PART_STATUS_SHOWN,
  PROTO_HAS_STATE,
  ZONE_BOTH,
  ZONE_ORIGINAL,
  ZONE_REPLY,
  zoneDirectionOf,
} from '../flow/record.js';
import { isIcmp, type Settings } from './settings.js';
import type { Translation } from './values.js';

/** Where an address stands in a record, for both sizes of addresses. */
type Place = (addr: number) => number;
type Test = (m: Memory, at: number, addr: number) => boolean;

/** The raw status of a record that was decoded with what is shown, else the durable bits. */
export function statusOf(m: Memory, at: number): number {
  const part = findPart(m, at, PART_STATUS_SHOWN);
  return part < 0 ? m.u32[(at + offStatus(addressBytes(m, at))) >>> 2] : m.u32[(part + 4) >>> 2];
}

/** The zone that a flow has in these directions, 0 if none. */
export const zoneOf = (m: Memory, at: number, direction: number): number =>
  zoneDirectionOf(m, at) === direction ? m.u16[(at + OFF_ZONE) >>> 1] : 0;

function addressTest(place: Place, value: Uint8Array, mask?: Uint8Array): Test {
  const bytes = value.map((byte, i) => byte & (mask?.[i] ?? 0xff));
  return (m, at, addr) => {
    if (addr !== bytes.length) return false;
    const from = at + place(addr);
    for (let i = 0; i < addr; i++) if ((m.u8[from + i] & (mask?.[i] ?? 0xff)) !== bytes[i]) return false;
    return true;
  };
}

const wordTest =
  (place: Place, value: number): Test =>
  (m, at, addr) => {
    const from = at + place(addr);
    return ((m.u8[from] << 8) | m.u8[from + 1]) === value;
  };

const byteTest =
  (place: Place, value: number): Test =>
  (m, at, addr) =>
    m.u8[at + place(addr)] === value;

/** Translated in this direction, and to this address and port where they were given. */
function natTest(bit: number, to: Translation, address: Place, port: Place): Test {
  const tests: Test[] = [(m, at) => (statusOf(m, at) & bit) !== 0];
  if (to.address !== undefined) tests.push(addressTest(address, to.address));
  if (to.port !== undefined) tests.push(wordTest(port, to.port));
  return (m, at, addr) => tests.every((test) => test(m, at, addr));
}

// What the source became is the reply's destination, and the other way round.
const sourceNat = (to: Translation): Test =>
  natTest(IPS_SRC_NAT, to, offReplyDst, (addr) => offReplyL4(addr) + 2);
const destinationNat = (to: Translation): Test => natTest(IPS_DST_NAT, to, offReplySrc, offReplyL4);

/** Linux 6.17 and later track DCCP without ports: those of such a flow are none, and not 0. */
const dccpPortsTest: Test = (m, at) => m.u32[(at + OFF_ORIG_L4) >>> 2] !== 0;

function tupleTests({ original, reply, mask, protocol }: Settings): Test[] {
  const tests: Test[] = [];
  const hasPorts = [original.first, original.second, reply.first, reply.second].some(
    (port) => port !== undefined,
  );
  if (hasPorts && protocol === IPPROTO_DCCP) tests.push(dccpPortsTest);
  const address = (place: Place, value: Uint8Array | undefined, bits?: Uint8Array) => {
    if (value !== undefined) tests.push(addressTest(place, value, bits));
  };
  const word = (place: Place, value: number | undefined) => {
    if (value !== undefined) tests.push(wordTest(place, value));
  };
  address(() => OFF_ORIG_SRC, original.source, mask.source);
  address(offOrigDst, original.destination, mask.destination);
  address(offReplySrc, reply.source);
  address(offReplyDst, reply.destination);
  word(() => OFF_ORIG_L4, original.first);
  word(() => OFF_ORIG_L4 + 2, original.second);
  word(offReplyL4, reply.first);
  word((addr) => offReplyL4(addr) + 2, reply.second);
  return tests;
}

function icmpTests({ icmpType, icmpCode, icmpId, protocol }: Settings): Test[] {
  if (!isIcmp(protocol)) return [];
  const tests: Test[] = [];
  if (icmpId !== undefined) tests.push(wordTest(() => OFF_ORIG_L4, icmpId));
  if (icmpType !== undefined) tests.push(byteTest(() => OFF_ORIG_L4 + 2, icmpType));
  if (icmpCode !== undefined) tests.push(byteTest(() => OFF_ORIG_L4 + 3, icmpCode));
  return tests;
}

function zoneTests({ zone, originalZone, replyZone }: Settings): Test[] {
  const test =
    (direction: number, value: number): Test =>
    (m, at) =>
      zoneOf(m, at, direction) === value;
  return [
    ...(zone === undefined ? [] : [test(ZONE_BOTH, zone)]),
    ...(originalZone === undefined ? [] : [test(ZONE_ORIGINAL, originalZone)]),
    ...(replyZone === undefined ? [] : [test(ZONE_REPLY, replyZone)]),
  ];
}

function labelTest(wanted: Uint8Array): Test {
  return (m, at) => {
    const part = findPart(m, at, PART_LABELS);
    return part >= 0 && wanted.every((bits, i) => (m.u8[part + 4 + i] & bits) === bits);
  };
}

/** What flows are chosen by whatever the command: addresses, protocol, zone, NAT, labels, id. */
function choosingTests(settings: Settings): Test[] {
  const { protocol, family, sourceNat: source, destinationNat: destination, anyNat, labels, id } = settings;
  const tests: Test[] = [];
  if (protocol !== undefined) tests.push(byteTest(() => OFF_PROTOCOL, protocol));
  if (family !== undefined) {
    const bytes = family === AF_INET6 ? 16 : 4;
    tests.push((_m, _at, addr) => addr === bytes);
  }
  tests.push(...tupleTests(settings), ...icmpTests(settings), ...zoneTests(settings));
  if (source !== undefined) tests.push(sourceNat(source));
  if (destination !== undefined) tests.push(destinationNat(destination));
  if (anyNat !== undefined) {
    const [either, or] = [sourceNat(anyNat), destinationNat(anyNat)];
    tests.push((m, at, addr) => either(m, at, addr) || or(m, at, addr));
  }
  if (labels !== undefined) tests.push(labelTest(labels));
  if (id !== undefined) {
    tests.push((m, at) => (m.u8[at + OFF_HAS] & HAS_ID) !== 0 && m.u32[(at + OFF_ID) >>> 2] === id);
  }
  return tests;
}

/** What an update changes is no condition there; elsewhere it is: status, mark, state and timeout. */
function stateTests({ status, mark, state, timeout }: Settings): Test[] {
  const tests: Test[] = [];
  if (status !== undefined) {
    const { set, clear } = status;
    tests.push((m, at) => {
      const bits = statusOf(m, at);
      return (bits & set) === set && (bits & clear) === 0;
    });
  }
  if (mark !== undefined) {
    const { value, mask } = mark;
    tests.push((m, at, addr) => (m.u32[(at + offMark(addr)) >>> 2] & mask) >>> 0 === value);
  }
  if (state !== undefined) {
    tests.push(
      (m, at, addr) =>
        (m.u8[at + offProtoBits(addr)] & PROTO_HAS_STATE) !== 0 && m.u8[at + offState(addr)] === state,
    );
  }
  if (timeout !== undefined) tests.push((m, at) => m.u32[(at + OFF_TIMEOUT) >>> 2] === timeout);
  return tests;
}

/** The flows that a command line chooses. */
export class FlowMatch {
  readonly #tests: readonly Test[];

  constructor(settings: Settings) {
    const isUpdate = settings.letter === 'U';
    this.#tests = [...choosingTests(settings), ...(isUpdate ? [] : stateTests(settings))];
  }

  /** Every flow is chosen. */
  get isOpen(): boolean {
    return this.#tests.length === 0;
  }

  matches(m: Memory, at: number): boolean {
    const tests = this.#tests;
    const addr = addressBytes(m, at);
    for (let i = 0; i < tests.length; i++) if (!tests[i](m, at, addr)) return false;
    return true;
  }
}
