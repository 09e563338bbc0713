import { defineConfig } from 'vitest/config';

const project = (name: string, testTimeout: number) => ({
  name,
  include: [`test/${name}/**/*.test.ts`],
  testTimeout,
  hookTimeout: 120_000,
});

/**
 * Lab files that have the machine to themselves; all others run two at a time, for they mostly wait, and stand in
 * namespaces of their own.
 */
const ALONE = [
  // The hash table and its limit belong to all namespaces: these make it bigger, and a dump that runs meanwhile is not whole.
  'pair',
  'kill',
  'link-cut',
  'loss',
  'overrun',
  'gate',
  'full-table',
  'hot',
  'conntrack-events',
  'library',
  'demo',
  // They measure, or are about bursts in which nothing may be lost.
  'bench',
  'hot-path',
  'churn',
  // Two thousand live connections and two firewalls use both cores.
  'traffic/traffic',
  'traffic/traffic-hot',
  'traffic/traffic-vrrp',
].map((file) => `test/lab/${file}.test.ts`);

export default defineConfig({
  test: {
    projects: [
      { test: project('unit', 20_000) },
      { test: project('property', 60_000) },
      { test: project('simulation', 120_000) },
      { test: { ...project('lab', 180_000), exclude: ALONE, maxWorkers: 2, sequence: { groupOrder: 1 } } },
      // One kernel, two cores: one after the other.
      { test: { ...project('lab', 180_000), name: 'lab-alone', include: ALONE, fileParallelism: false } },
    ],
  },
});
