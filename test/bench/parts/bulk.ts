/** A full table to a backup that has nothing. */
import { conntrackdBulk, conntwinBulk } from '../bulk-run.js';
import type { Figure, Side, Values } from '../figure.js';
import type { Part, Say, Sizes } from '../part.js';

const RATIO = 1;
/** Bulks of which the shortest counts. */
const BULKS = 2;

function figures({ full }: Sizes): Figure[] {
  return [
    { id: 'bulk.ms', name: `full bulk of ${full} flows`, unit: 'ms', digits: 0, target: { ratio: RATIO } },
    {
      id: 'bulk.bytes',
      name: 'bytes on the link per flow of a bulk',
      unit: 'bytes',
      digits: 1,
      isDetail: true,
    },
    {
      id: 'bulk.restartMs',
      name: `a backup that starts anew, from hello to proof, ${full} flows`,
      unit: 'ms',
      digits: 0,
      isDetail: true,
    },
  ];
}

async function measure(side: Side, { full }: Sizes, say: Say): Promise<Values> {
  const bulk = side === 'conntrackd' ? conntrackdBulk : conntwinBulk;
  const { bulkMs, bulkBytes, restartMs } = await bulk(full, BULKS, say);
  return {
    'bulk.ms': bulkMs,
    'bulk.bytes': bulkBytes / full,
    ...(restartMs === undefined ? {} : { 'bulk.restartMs': restartMs }),
  };
}

export const BULK: Part = {
  name: 'bulk',
  about: 'all flows to a backup that has none',
  sides: ['conntrackd', 'conntwin'],
  quickRounds: 1,
  figures,
  measure,
};
