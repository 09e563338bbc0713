/** Command lines about expectations: of one control connection that has the FTP helper, which a round may begin with. */
import type { Random } from '../random.js';
import { maybe, one } from './choices.js';

/** The control connection's ends, as its flow is made. */
export const MASTER = {
  source: '10.0.0.9',
  destination: '192.0.2.9',
  sourcePort: 1000,
  destinationPort: 21,
};
const PORTS = ['2000', '2001'];

const expected = (random: Random): string[] => [
  ...[
    '-p',
    'tcp',
    '-s',
    MASTER.destination,
    '-d',
    MASTER.source,
    '--sport',
    '0',
    '--dport',
    one(random, PORTS),
  ],
  // Debian's wants them, and nothing has them.
  ...['--reply-port-src', '0', '--reply-port-dst', '0'],
];

/** -I expect: FTP's policy allows one at a time, so each takes the place of the one before. */
export const expectationCreation = (random: Random): string[] => [
  ...['-I', 'expect', '-p', 'tcp', '-s', MASTER.source, '-d', MASTER.destination],
  ...['--sport', String(MASTER.sourcePort), '--dport', String(MASTER.destinationPort), '-t', '1000'],
  ...['--tuple-src', MASTER.destination, '--tuple-dst', MASTER.source],
  ...['--mask-src', '255.255.255.255', '--mask-dst', '255.255.255.255'],
  ...['--tuple-port-src', '0', '--tuple-port-dst', one(random, PORTS)],
  ...['--mask-port-src', '0', '--mask-port-dst', '65535'],
];

/** Anything else that conntrack(8) does with expectations. */
export function expectationLine(random: Random): string[] {
  const kind = random(10);
  if (kind < 2) return ['-G', 'expect', ...expected(random)];
  if (kind < 4) return ['-D', 'expect', ...expected(random)];
  if (kind === 4) return [one(random, ['-C', '-F', '--count']), 'expect'];
  return [
    ...[one(random, ['-L', '--dump']), 'expect'],
    ...maybe(random, 40, () => ['-o', one(random, ['xml', 'extended', 'id', 'labels', 'ktimestamp'])]),
    ...maybe(random, 40, () => [one(random, ['-f', '--family']), one(random, ['ipv4', 'ipv6'])]),
  ];
}
