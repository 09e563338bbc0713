/** Random flows in the words that make them: whole tuples, states, translations, and -I and -A lines. */
import type { Random } from '../random.js';
import * as C from './choices.js';

const { one, maybe, isTcp, isUdp } = C;

/** FIXED_TIMEOUT cannot be taken away again, and Debian's -U counts flows that keep theirs: rounds with updates have none. */
const STATUS = ['ASSURED', 'SEEN_REPLY', 'SEEN_REPLY,ASSURED', 'UNSET'];

/**
 * What a round has: zones and fixed timeouts, or updates. Debian's -U looks for each flow in zone 0 only, where another
 * one may have the same tuple, and counts those that the kernel refused to change.
 */
export interface RoundKind {
  readonly hasZones: boolean;
  /** Flows made so far, as their original tuples name them: what looks for one flow finds one more often than not. */
  readonly made: FlowWords[];
}

/** What names one flow wholly. */
export interface FlowWords {
  readonly protocol: string;
  readonly words: readonly string[];
  readonly isV6: boolean;
}

/** What a protocol's tuple has besides addresses. */
export function layer4(random: Random, protocol: string): string[] {
  if (protocol === 'icmp' || protocol === 'icmpv6') {
    const type = protocol === 'icmp' ? one(random, ['8', '13']) : '128';
    const option = `--${protocol}`;
    return [`${option}-type`, type, `${option}-code`, '0', `${option}-id`, one(random, C.PORTS)];
  }
  const isLong = random(4) === 0;
  if (protocol === 'gre') {
    const [from, to] = isLong ? ['--orig-key-src', '--orig-key-dst'] : ['--srckey', '--dstkey'];
    return [from, one(random, C.PORTS), to, one(random, C.PORTS)];
  }
  if (protocol === '50' || protocol === 'esp') return [];
  const [from, to] = isLong ? ['--orig-port-src', '--orig-port-dst'] : ['--sport', '--dport'];
  return [from, one(random, C.PORTS), to, one(random, C.TO_PORTS)];
}

/** The other end's words for the same. */
const REPLY_OF: Readonly<Record<string, string>> = {
  '--sport': '--reply-port-src',
  '--orig-port-src': '--reply-port-src',
  '--dport': '--reply-port-dst',
  '--orig-port-dst': '--reply-port-dst',
  '--srckey': '--reply-key-src',
  '--orig-key-src': '--reply-key-src',
  '--dstkey': '--reply-key-dst',
  '--orig-key-dst': '--reply-key-dst',
};

/** A flow's tuple; in one of eight cases by its reply, where that will do. */
export function tuple(random: Random, mayBeReply: boolean): FlowWords {
  const protocol = one(random, C.PROTOCOLS);
  const isV6 = protocol === 'icmpv6' || (protocol !== 'icmp' && random(4) === 0);
  const [from, to] = [one(random, isV6 ? C.V6 : C.V4), one(random, isV6 ? C.V6_TO : C.V4_TO)];
  const ends = layer4(random, protocol);
  const isByReply = mayBeReply && random(8) === 0 && !protocol.startsWith('icmp');
  if (!isByReply) return { protocol, isV6, words: ['-s', from, '-d', to, '-p', protocol, ...ends] };
  const words = ends.map((word) => REPLY_OF[word] ?? word);
  return { protocol, isV6, words: ['-r', from, '-q', to, '-p', protocol, ...words] };
}

/** State and what goes with it, as a new flow needs it. */
export function state(random: Random, protocol: string): string[] {
  if (isTcp(protocol)) return ['--state', one(random, C.TCP_STATES)];
  if (protocol === 'dccp') {
    return ['--state', one(random, C.DCCP_STATES), '--role', one(random, ['client', 'server'])];
  }
  if (protocol !== 'sctp') return [];
  return ['--state', one(random, C.SCTP_STATES), '--orig-vtag', one(random, C.PORTS), '--reply-vtag', '7'];
}

/** A translation: whole, so that neither program leaves a choice to the kernel. */
function translated(random: Random, flow: FlowWords): string[] {
  // Debian's leaves the port out for all others, and the kernel chooses one.
  if (!isTcp(flow.protocol) && !isUdp(flow.protocol)) return [];
  const at = (port: number) => (flow.isV6 ? `[${C.NAT_V6}]:${port}` : `${C.NAT_V4}:${port}`);
  const source = () => [one(random, ['-n', '--src-nat']), at(1000 + random(60_000))];
  const destination = () => [one(random, ['-g', '--dst-nat']), at(1000 + random(60_000))];
  const kind = random(10);
  if (kind === 0) return source();
  if (kind === 1) return destination();
  return kind === 2 ? [...source(), ...destination()] : [];
}

/** What names one flow, which was made in most cases. */
export const named = (random: Random, kind: RoundKind): FlowWords =>
  kind.made.length > 0 && random(4) > 0 ? one(random, kind.made) : tuple(random, false);

/** -I or -A of a random flow. */
export function creation(random: Random, kind: RoundKind): string[] {
  const flow = tuple(random, true);
  if (flow.words[0] === '-s') kind.made.push(flow);
  const status = kind.hasZones ? [...STATUS, 'FIXED_TIMEOUT'] : STATUS;
  return [
    one(random, ['-I', '-I', '-A', '--create', '--add']),
    ...flow.words,
    ...C.shuffled(random, [
      state(random, flow.protocol),
      // Long enough not to expire while it is looked at.
      ['-t', String(600 + random(3000))],
      maybe(random, 50, () => ['-u', one(random, status)]),
      maybe(random, 60, () => ['-m', one(random, C.MARKS)]),
      translated(random, flow),
      kind.hasZones ? maybe(random, 40, () => [one(random, C.ZONE_OPTIONS), one(random, C.ZONES)]) : [],
      maybe(random, 15, () => ['--label-add', one(random, C.LABELS)]),
    ]),
  ];
}
