import { describe } from 'vitest';
import { testFailovers } from './failover-tests.js';
import { LEFT_OUT_NOTE, TRIED } from './left-out.js';
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

describe(`by keepalived (${LEFT_OUT_NOTE})`, () => {
  testFailovers('keepalived', TEN, () => startVrrp(), TRIED);
});
