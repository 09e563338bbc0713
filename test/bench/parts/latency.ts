/** From a creation on the active node to the same flow in the backup's kernel, hot, and the CPU that the same run took. */
import type { Figure, Side, Values } from '../figure.js';
import { measureLatency } from '../latency-run.js';
import type { Part, Say, Sizes } from '../part.js';

const RATES = [1000, 10_000];
const PERCENTILES = { p50: 'p50', p99: 'p99', p999: 'p99.9' } as const;
const RATIO = 1;

function figures(): Figure[] {
  return RATES.flatMap((rate): Figure[] => [
    ...Object.entries(PERCENTILES).map(([key, name]): Figure => {
      return {
        id: `latency.${rate}.${key}`,
        name: `create to backup kernel, hot, ${rate}/s, ${name}`,
        unit: 'ms',
        digits: 3,
        ...(key === 'p999' ? { isDetail: true } : { target: { ratio: RATIO } }),
      };
    }),
    {
      id: `latency.${rate}.cpu`,
      name: `CPU per flow in the same run, both nodes, hot, ${rate}/s`,
      unit: 'us',
      digits: 1,
    },
    {
      id: `latency.${rate}.missing`,
      name: `flows missing in the backup's kernel, ${rate}/s`,
      unit: '',
      digits: 0,
      isDetail: true,
    },
    {
      id: `latency.${rate}.late`,
      name: `the generator itself late at worst, ${rate}/s`,
      unit: 'ms',
      digits: 1,
      isDetail: true,
    },
  ]);
}

async function measure(side: Side, { seconds }: Sizes, say: Say): Promise<Values> {
  const subject = side === 'conntrackd' ? 'conntrackd hot' : 'conntwin hot';
  const results = await measureLatency(subject, RATES, seconds, say);
  return Object.fromEntries(
    [...results].flatMap(([rate, { p50, p99, p999, missing, lateMs, cpuMicros }]) =>
      Object.entries({ p50, p99, p999, missing, late: lateMs, cpu: cpuMicros }).map(([key, value]) => [
        `latency.${rate}.${key}`,
        value,
      ]),
    ),
  );
}

export const LATENCY: Part = {
  name: 'latency',
  about: "creation to the backup's kernel, both hot, at 1,000 and 10,000 a second",
  sides: ['conntrackd', 'conntwin'],
  quickRounds: 1,
  figures,
  measure,
};
