import { defineConfig } from 'vitest/config';

const project = (name: string, testTimeout: number, fileParallelism: boolean) => ({
  test: { name, include: [`test/${name}/**/*.test.ts`], testTimeout, hookTimeout: 120_000, fileParallelism },
});

export default defineConfig({
  test: {
    projects: [
      project('unit', 20_000, true),
      project('property', 60_000, true),
      project('simulation', 120_000, true),
      // The lab has one kernel and two cores: its files run one after the other.
      project('lab', 180_000, false),
    ],
  },
});
