/** What it takes two nodes to find out what differs, and to put it right: bytes and time, beside a full bulk. */
import type { Figure, Side, Values } from '../figure.js';
import type { Part, Say, Sizes } from '../part.js';
import { measureRejoin } from '../rejoin-run.js';

/** Of all flows. */
const DIFFERING = 0.001;
const KILO = 1000;

const figures = ({ full }: Sizes): Figure[] => [
  { id: 'repair.ms', name: `repair of 0.1 % of ${full} flows, until proven`, unit: 'ms', digits: 0 },
  { id: 'repair.kB', name: `repair of 0.1 % of ${full} flows`, unit: 'kB', digits: 0 },
  { id: 'repair.bulk', name: 'a full bulk for comparison', unit: 'kB', digits: 0, isDetail: true },
  { id: 'repair.cut', name: 'equal tables after a cut of the link', unit: 'kB', digits: 0, isDetail: true },
  { id: 'repair.restart', name: 'equal tables after a restart', unit: 'kB', digits: 0, isDetail: true },
];

async function measure(_: Side, { full }: Sizes, say: Say): Promise<Values> {
  const differences = Math.max(1, Math.round(full * DIFFERING));
  const result = await measureRejoin({ flows: full, differences }, say);
  return {
    'repair.ms': result.repairMs,
    'repair.kB': result.repairBytes / KILO,
    'repair.bulk': result.bulkBytes / KILO,
    'repair.cut': result.cutBytes / KILO,
    'repair.restart': result.restartBytes / KILO,
  };
}

export const REPAIR: Part = {
  name: 'repair',
  about: 'a few differences found and put right; conntrackd has no such thing (not in --quick)',
  sides: ['conntwin'],
  quickRounds: 1,
  figures,
  measure,
};
