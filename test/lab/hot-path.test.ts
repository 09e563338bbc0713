import { afterAll, beforeAll, expect, test } from 'vitest';
import { run } from './command.js';
import type { HotPathCounts, VerbCounts } from './hot-path-program.js';
import { addNamespace, freePrefix, removeNamespace } from './namespaces.js';
import { program } from './program.js';

const FLOWS = 20_000;
/** Megabytes: more than all runs leave behind together. */
const NEW_SPACE = 128;
/**
 * The most that a thousand events may take. Whoever needs more of one has a reason that stands here: an object an event
 * is 16,000 bytes and more, a boxed hash 8,000.
 */
const LIMITS: HotPathCounts = {
  create: { systemCalls: 7, frames: 28, frameBytes: 38_000, activeHeapBytes: 1000, backupHeapBytes: 1500 },
  update: { systemCalls: 7, frames: 28, frameBytes: 38_000, activeHeapBytes: 1000, backupHeapBytes: 1500 },
  delete: { systemCalls: 7, frames: 16, frameBytes: 21_500, activeHeapBytes: 1000, backupHeapBytes: 1500 },
};

let namespace: string;
let counts: HotPathCounts;
beforeAll(async () => {
  namespace = `${freePrefix()}-hot`;
  await addNamespace(namespace);
  const [node, file] = program('test/lab/hot-path-program');
  const flags = ['--expose-gc', `--min-semi-space-size=${NEW_SPACE}`, `--max-semi-space-size=${NEW_SPACE}`];
  const argv = ['ip', 'netns', 'exec', namespace, node, ...flags, file, String(FLOWS)];
  counts = JSON.parse(await run(argv)) as HotPathCounts;
});
afterAll(() => removeNamespace(namespace));

for (const verb of ['create', 'update', 'delete'] as const) {
  test(`a thousand events "${verb}" take no more system calls, frames, bytes and heap than they did`, ({
    task,
  }) => {
    Object.assign(task.meta, { note: JSON.stringify(counts[verb]) });
    for (const [name, most] of Object.entries(LIMITS[verb])) {
      expect(counts[verb][name as keyof VerbCounts], name).toBeLessThanOrEqual(most);
    }
  });
}
