/** Flows as text: the line that `conntrack -L` (conntrack-tools 1.4.7) prints, and JSON. */
import { AF_INET, AF_INET6 } from './conntrack-enums.js';
import type { Flow, PacketCounters, Tuple } from './flow.js';
import { protocolNumber } from './flow-to-record.js';

/** What to print besides the plain line of `conntrack -L`. */
export interface TextOptions {
  /** `-o extended`: family name and number in front. */
  isExtended?: boolean;
  /** `-o id`: the ct id. */
  hasId?: boolean;
  /**
   * Now, in nanoseconds since 1970: a flow with a start time then shows its age, as the kernel's flows do.
   */
  now?: bigint;
}

const GRE = 'gre';
/** What conntrack(8) calls a protocol that it has no word for. */
const UNKNOWN = 'unknown';

function tupleFields(tuple: Tuple, protocol: string): string {
  let text = `src=${tuple.source} dst=${tuple.destination} `;
  if (tuple.sourcePort !== undefined && protocol === GRE) {
    text += `srckey=0x${tuple.sourcePort.toString(16)} dstkey=0x${tuple.destinationPort?.toString(16)} `;
  } else if (tuple.sourcePort !== undefined) {
    text += `sport=${tuple.sourcePort} dport=${tuple.destinationPort} `;
  } else if (tuple.icmpType !== undefined) {
    text += `type=${tuple.icmpType} code=${tuple.icmpCode} id=${tuple.icmpId} `;
  }
  return text;
}

const counterFields = (counters: PacketCounters | undefined): string =>
  counters === undefined ? '' : `packets=${counters.packets} bytes=${counters.bytes} `;

/** One of the three words for a flow that lasts: the strongest wins. */
function assuredField(flow: Flow): string {
  if (flow.status.includes('HW_OFFLOAD')) return '[HW_OFFLOAD] ';
  if (flow.status.includes('OFFLOAD')) return '[OFFLOAD] ';
  return flow.status.includes('ASSURED') ? '[ASSURED] ' : '';
}

function headFields(flow: Flow, options: TextOptions): string {
  let text = '';
  if (options.isExtended) {
    text += `${flow.family.padEnd(8)} ${flow.family === 'ipv6' ? AF_INET6 : AF_INET} `;
  }
  const number = protocolNumber('flow.protocol', flow.protocol);
  const name = flow.protocol === String(number) ? UNKNOWN : flow.protocol;
  text += `${name.padEnd(8)} ${number} `;
  if (flow.timeout !== undefined) text += `${flow.timeout} `;
  if (flow.protoinfo?.state !== undefined) text += `${flow.protoinfo.state} `;
  return text;
}

/** Whole seconds since the flow began, or that it lasted. */
function ageField(flow: Flow, now: bigint | undefined): string {
  const { start, stop } = flow.timestamp ?? {};
  const end = stop ?? now;
  if (start === undefined || end === undefined) return '';
  return `delta-time=${end > start ? (end - start) / 1_000_000_000n : 0n} `;
}

/** The flow's line as `conntrack -L` prints it, without a line end. */
export function formatConntrack(flow: Flow, options: TextOptions = {}): string {
  const zone = flow.zone ?? 0;
  let text = headFields(flow, options);
  text += tupleFields(flow.original, flow.protocol);
  if (flow.zoneDirection === 'original') text += `zone-orig=${zone} `;
  text += counterFields(flow.counters?.original);
  if (!flow.status.includes('SEEN_REPLY')) text += '[UNREPLIED] ';
  if (flow.reply !== undefined) text += tupleFields(flow.reply, flow.protocol);
  if (flow.zoneDirection === 'reply') text += `zone-reply=${zone} `;
  text += counterFields(flow.counters?.reply);
  text += assuredField(flow);
  // The kernel tells the mark of every flow in a dump, also when it is 0.
  text += `mark=${flow.mark ?? 0} `;
  if (flow.secctx !== undefined) text += `secctx=${flow.secctx} `;
  if (zone !== 0 && flow.zoneDirection === undefined) text += `zone=${zone} `;
  text += ageField(flow, options.now);
  if (flow.helper !== undefined) text += `helper=${flow.helper} `;
  if (flow.use !== undefined) text += `use=${flow.use} `;
  if (options.hasId && flow.id !== undefined) text += `id=${flow.id} `;
  return text.trimEnd();
}

/** A flow as one line of JSON; 64-bit counts are numbers while exact, else text. Timestamps are text. */
export function formatJson(flow: Flow): string {
  return JSON.stringify(flow, (_key, value: unknown) => {
    if (typeof value !== 'bigint') return value;
    return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : String(value);
  });
}
