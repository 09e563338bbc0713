import { describe } from 'vitest';
import { testFailovers } from './failover-tests.js';
import { without } from './left-out.js';
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

const { kinds, note } = without(false);

describe(`by keepalived (${note})`, () => {
  testFailovers('keepalived', TEN, () => startVrrp(), kinds);
});
