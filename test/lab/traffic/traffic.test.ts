import { sized } from '../size.js';
import { type CommandWay, startPair } from './command-failovers.js';
import { testFailovers } from './failover-tests.js';

const WAYS: readonly CommandWay[] = [
  'planned, backup line first',
  'planned, primary line first',
  'cables cut',
  'daemon killed',
  'planned, backup line first',
  'cables cut',
  'planned, primary line first',
  'daemon killed',
  'cables cut',
  'planned, backup line first',
];

// keepalived does ten of its own in every run (traffic-vrrp.test.ts).
testFailovers('command', WAYS.slice(0, sized(6, 10)), () => startPair());
