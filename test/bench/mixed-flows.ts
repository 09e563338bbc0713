/** Flows of a mixed table by number: IPv4 and IPv6, TCP and UDP, one in four translated. */
import type { Flow } from '../../src/flow/flow.js';

/** Each kind is a quarter of the flows. */
const KINDS: readonly ((n: number) => Flow)[] = [
  (n) => ({ ...tcp, family: 'ipv4', original: { ...v4(n), ...ports(n, 443) } }),
  (n) => ({ ...tcp, family: 'ipv6', original: { ...v6(n), ...ports(n, 443) } }),
  (n) => ({ ...tcp, ...translated(n) }),
  (n) => ({ ...udp, family: 'ipv4', original: { ...v4(n), ...ports(n, 53) } }),
];
const PORTS = 60_000;
const FIRST_PORT = 1024;
const SERVER = '10.2.0.100';
/** What a port's translations are to: one address for every 60,000 flows. */
const NAT_BLOCK = '10.2.128';

const tcp = {
  protocol: 'tcp',
  protoinfo: { kind: 'tcp' as const, state: 'ESTABLISHED' },
  status: ['SEEN_REPLY' as const, 'ASSURED' as const],
  timeout: 3600,
};
const udp = { protocol: 'udp', status: ['SEEN_REPLY' as const], timeout: 3600 };
const port = (n: number): number => FIRST_PORT + (n % PORTS);
const ports = (n: number, to: number) => ({ sourcePort: port(n), destinationPort: to });
const v4 = (n: number) => ({ source: `10.1.64.${1 + Math.floor(n / PORTS)}`, destination: SERVER });
const v6 = (n: number) => ({
  source: `fd00:1::${(0x1000 + Math.floor(n / PORTS)).toString(16)}`,
  destination: 'fd00:2::100',
});

function translated(n: number): Pick<Flow, 'family' | 'original' | 'reply'> {
  const to = `${NAT_BLOCK}.${1 + Math.floor(n / PORTS)}`;
  return {
    family: 'ipv4',
    original: { ...v4(n), ...ports(n, 80) },
    reply: { source: SERVER, destination: to, sourcePort: 80, destinationPort: port(n) },
  };
}

/** Flow number `n`; the mark says how often it was changed. */
export const mixedFlow = (n: number, mark: number): Flow => ({ ...KINDS[n % KINDS.length](n), mark });
