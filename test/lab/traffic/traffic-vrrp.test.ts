import { testFailovers } from './failover-tests.js';
import { startVrrp, type VrrpWay } from './vrrp-failovers.js';

const TEN: readonly VrrpWay[] = [
  'keepalived stopped',
  'cables cut',
  'keepalived stopped',
  'power lost',
  'cables cut',
  'keepalived stopped',
  'power lost',
  'keepalived stopped',
  'cables cut',
  'keepalived stopped',
];

testFailovers('keepalived', TEN, () => startVrrp());
