/** The failovers of the other two files where both firewalls stand by hot. */
import { describe } from 'vitest';
import { sized } from '../size.js';
import { type CommandWay, startPair } from './command-failovers.js';
import { testFailovers } from './failover-tests.js';
import { startVrrp, type VrrpWay } from './vrrp-failovers.js';

const BY_KEEPALIVED: readonly VrrpWay[] = [
  'keepalived stopped',
  'cables cut',
  'power lost',
  'cables cut',
  'power lost',
  'keepalived stopped',
];
const BY_COMMAND: readonly CommandWay[] = [
  'daemon killed',
  'planned, primary line first',
  'cables cut',
  'daemon killed',
  'planned, backup line first',
  'daemon killed',
  'cables cut',
  'planned, primary line first',
];

describe('hot standby, by keepalived', () => {
  testFailovers('keepalived', BY_KEEPALIVED, () => startVrrp(true));
});

describe('hot standby, by command', () => {
  testFailovers('command', BY_COMMAND.slice(0, sized(4, 8)), () => startPair(true));
});
