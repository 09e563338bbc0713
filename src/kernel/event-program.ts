/**
 * The classic BPF program of the event socket: it drops, before they are queued, the events of this process's own
 * writes and those of flows that are never replicated.
 *
 *      0 struct nlmsghdr: length, type (4: message, 5: subsystem), flags, sequence, 12: port id
 *     16 struct nfgenmsg: 16: family
 *     20 CTA_TUPLE_ORIG, 24 CTA_TUPLE_IP, 28 source, then destination, CTA_TUPLE_PROTO, the protocol's number
 *
 * What it drops must be what `ReplicateFilter.ignores` is true of, for the whole life of a flow: only the family, the
 * original tuple's addresses and the protocol stand at fixed places and never change. Ports, zones and the reply
 * tuple are left to user space, and so is what a user-space accept list says of the reply tuple.
 */
import type { BpfInstruction } from '../../native/structs.js';
import { AddressBlocks, type Block, prefixMask } from '../flow/address-blocks.js';
import { AF_INET6 } from '../flow/conntrack-enums.js';
import type { ReplicateRules } from '../flow/replicate-filter.js';
import { NFNL_SUBSYS_CTNETLINK } from './enums.js';

// linux/bpf_common.h: class, size, mode, operation and source in one code
const LOAD_WORD = 0x20; // BPF_LD | BPF_W | BPF_ABS
const LOAD_BYTE = 0x30; // BPF_LD | BPF_B | BPF_ABS
const AND = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP = 0x05; // BPF_JMP | BPF_JA
const JUMP_EQUAL = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const RETURN = 0x06; // BPF_RET | BPF_K
/** BPF_MAXINSNS, linux/bpf_common.h: SO_ATTACH_FILTER says EINVAL to one more. */
export const BPF_INSTRUCTIONS_MAX = 4096;

const PORT_ID = 12;
const SUBSYSTEM = 5;
const FAMILY = 16;
const SOURCE = 32;
/** The addresses' attribute headers are between them, and so are two before the protocol. */
const destinationAt = (addr: number): number => SOURCE + addr + 4;
const protocolAt = (addr: number): number => SOURCE + 2 * addr + 12;

const DROP: BpfInstruction = [RETURN, 0, 0, 0];
const KEEP: BpfInstruction = [RETURN, 0, 0, 0xffffffff];
const ALL_BITS = 0xffffffff;

/** Swaps the bytes of a 32-bit number. */
const swap32 = (x: number): number =>
  ((x << 24) | ((x & 0xff00) << 8) | ((x >>> 8) & 0xff00) | (x >>> 24)) >>> 0;

/** What the kernel's half of a filter is made from. */
export interface EventFilter {
  readonly rules: ReplicateRules;
  /** Addresses (or blocks) whose flows are left out whatever the direction. */
  readonly own: readonly string[];
}

/**
 * The program for a socket whose process writes with `portId` (undefined: its own events are wanted); without a filter it
 * drops that port's events only. Undefined if the filter would take more than BPF_INSTRUCTIONS_MAX instructions.
 */
export function eventProgram(portId: number | undefined, filter?: EventFilter): BpfInstruction[] | undefined {
  const program: BpfInstruction[] = [];
  if (portId !== undefined) {
    // A BPF load reads the word as big-endian while nlmsg_pid is in host order, so the constant is byte-swapped.
    program.push([LOAD_WORD, 0, 0, PORT_ID], [JUMP_EQUAL, 0, 1, swap32(portId)], DROP);
  }
  if (filter !== undefined) {
    const v4 = familyProgram(filter, 4);
    const v6 = familyProgram(filter, 16);
    program.push(
      // Expectation events come over this socket too, and have another layout.
      [LOAD_BYTE, 0, 0, SUBSYSTEM],
      [JUMP_EQUAL, 1, 0, NFNL_SUBSYS_CTNETLINK],
      KEEP,
      [LOAD_BYTE, 0, 0, FAMILY],
      // A conditional jump reaches 255 instructions, an unconditional one any.
      [JUMP_EQUAL, 0, 1, AF_INET6],
      [JUMP, 0, 0, v4.length],
      ...v4,
      ...v6,
    );
  } else program.push(KEEP);
  return program.length <= BPF_INSTRUCTIONS_MAX ? program : undefined;
}

/** Ends in a RETURN whatever way it takes. */
function familyProgram({ rules, own }: EventFilter, addr: number): BpfInstruction[] {
  const program: BpfInstruction[] = [];
  const ofFamily = (texts: readonly string[]): Block[] =>
    new AddressBlocks(texts).blocks.filter(({ bytes }) => bytes.length === addr);
  const places = [SOURCE, destinationAt(addr)];
  if (rules.protocols.length + rules.ignore.protocols.length > 0) {
    program.push([LOAD_BYTE, 0, 0, protocolAt(addr)]);
    for (const protocol of rules.ignore.protocols) program.push([JUMP_EQUAL, 0, 1, protocol], DROP);
    program.push(...isOneOf(rules.protocols));
  }
  const refused = ofFamily(rules.direction === 'reply' ? own : [...own, ...rules.ignore.addresses]);
  for (const block of refused) for (const p of places) program.push(...ifInBlock(block, p, DROP));
  if (rules.direction === 'original' && rules.addresses.length > 0) {
    for (const block of ofFamily(rules.addresses)) {
      for (const p of places) program.push(...ifInBlock(block, p, KEEP));
    }
    program.push(DROP);
  } else program.push(KEEP);
  return program;
}

/** Goes on if the loaded number is one of these, or there are none; else drops. */
function isOneOf(numbers: readonly number[]): BpfInstruction[] {
  const unique = [...new Set(numbers)];
  if (unique.length === 0) return [];
  // At most 256 protocols: from each a jump over the rest, two instructions apart, must reach the end.
  return [
    ...unique.flatMap((number, i): BpfInstruction[] => [
      [JUMP_EQUAL, 0, 1, number],
      [JUMP, 0, 0, 2 * (unique.length - i) - 1],
    ]),
    DROP,
  ];
}

/** Returns with `outcome` if the address at byte `p` is in the block, else goes on. */
function ifInBlock({ bytes, prefix }: Block, p: number, outcome: BpfInstruction): BpfInstruction[] {
  const value = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const mask = new DataView(prefixMask(bytes.length, prefix).buffer);
  const tests: BpfInstruction[][] = [];
  for (let i = 0; i < bytes.length; i += 4) {
    const bits = mask.getUint32(i);
    if (bits === 0) break;
    const load: BpfInstruction[] = [[LOAD_WORD, 0, 0, p + i]];
    if (bits !== ALL_BITS) load.push([AND, 0, 0, bits]);
    tests.push([...load, [JUMP_EQUAL, 0, 0, value.getUint32(i)]]);
  }
  const program = [...tests.flat(), outcome];
  // Each comparison that fails jumps behind the outcome.
  return program.map(([code, , , k], i): BpfInstruction => {
    return code === JUMP_EQUAL ? [code, 0, program.length - 1 - i, k] : [code, 0, 0, k];
  });
}
