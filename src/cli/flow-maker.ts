/** `flows create`: a flow made of words. */
import { ControlError } from '../control/backend.js';
import type { Flow, Protoinfo, Tuple } from '../flow/flow.js';
import type { FlowInput } from '../library/flow-input.js';
import {
  type Endpoint,
  endpoint,
  type IcmpWords,
  labels,
  mark,
  seconds,
  stateOf,
  statusNames,
  tuple,
} from './flow-words.js';

export interface CreateOptions extends IcmpWords {
  snat?: string;
  dnat?: string;
  state?: string;
  status?: string;
  timeout?: string;
  mark?: string;
  zone?: number;
  label?: string;
  helper?: string;
}

const KINDS = ['tcp', 'sctp', 'dccp'];
/** The answer to an echo request, IPv4's and IPv6's. */
const ECHO_REPLY: Readonly<Record<number, number>> = { 8: 0, 128: 129 };

/** Throws ControlError (`invalid`) naming the word or option. */
export function flowOf(words: readonly string[], options: CreateOptions): FlowInput {
  const { protocol, original } = tuple(words, options);
  const flow: FlowInput = { protocol, original };
  const to = (option: string, text: string | undefined) =>
    text === undefined ? undefined : endpoint(option, text);
  const [snat, dnat] = [to('--snat', options.snat), to('--dnat', options.dnat)];
  if (snat !== undefined || dnat !== undefined) flow.reply = replyOf(original, snat, dnat);
  if (options.timeout !== undefined) flow.timeout = seconds('--timeout', options.timeout);
  if (options.mark !== undefined) flow.mark = mark('--mark', options.mark).value;
  if (options.zone !== undefined) flow.zone = options.zone;
  if (options.label !== undefined) flow.labels = labels('--label', options.label);
  if (options.helper !== undefined) flow.helper = options.helper;
  Object.assign(flow, progress(protocol, options));
  return flow;
}

/** State and status. A flow of TCP that nobody says anything of is one that both sides use. */
function progress(
  protocol: string,
  { state, status }: CreateOptions,
): Pick<Flow, 'status'> & { protoinfo?: Protoinfo } {
  const hasState = KINDS.includes(protocol);
  if (state !== undefined && !hasState) {
    throw new ControlError('invalid', `--state: ${protocol} has no states: leave it out`);
  }
  const name = hasState
    ? stateOf('--state', state ?? (protocol === 'dccp' ? 'open' : 'established'), protocol)
    : '';
  const isInUse = name === 'ESTABLISHED' || name === 'OPEN';
  const protoinfo = hasState ? { protoinfo: { kind: protocol, state: name } as Protoinfo } : {};
  if (status !== undefined) return { status: statusNames('--status', status), ...protoinfo };
  return { status: isInUse ? ['SEEN_REPLY', 'ASSURED'] : [], ...protoinfo };
}

/** What answers look like: they come from where the destination was translated to, and go to where the source was. */
function replyOf(original: Tuple, snat: Endpoint | undefined, dnat: Endpoint | undefined): Tuple {
  for (const [option, to] of [['--snat', snat] as const, ['--dnat', dnat] as const]) {
    if (to === undefined) continue;
    if (to.address.includes(':') !== original.source.includes(':')) {
      throw new ControlError('invalid', `${option}: ${to.address} is of another family than the flow`);
    }
    if (to.port !== undefined && original.sourcePort === undefined) {
      throw new ControlError('invalid', `${option}: the protocol has no ports`);
    }
  }
  const reply: Tuple = {
    source: dnat?.address ?? original.destination,
    destination: snat?.address ?? original.source,
  };
  if (original.sourcePort !== undefined) {
    reply.sourcePort = dnat?.port ?? original.destinationPort;
    reply.destinationPort = snat?.port ?? original.sourcePort;
  }
  if (original.icmpType !== undefined) {
    const { icmpType, icmpCode, icmpId } = original;
    Object.assign(reply, { icmpType: ECHO_REPLY[icmpType] ?? icmpType, icmpCode, icmpId });
  }
  return reply;
}
