/**
 * Creates, changes or deletes flows of a mixed table in this namespace's kernel as fast as it takes them:
 *   mixed-flows-program.js create|update|delete COUNT FIRST MARK
 * The report is one JSON line.
 */
import { CounterMap } from '../../src/flow/counters.js';
import { recordFromFlow } from '../../src/flow/flow.js';
import { KernelBatch } from '../../src/flow/kernel-port.js';
import { allocateMemory, MAX_RECORD_BYTES } from '../../src/flow/record.js';
import { Injector } from '../../src/kernel/injector.js';
import { GENERATOR_VERBS, type GeneratorVerb } from '../lab/flow-generator.js';
import { mixedFlow } from './mixed-flows.js';

const BATCH = 64;

function main([verb, ...numbers]: readonly string[]): void {
  const [count, first, mark] = numbers.map(Number);
  const injector = new Injector(new CounterMap());
  const batch = new KernelBatch(BATCH);
  const record = allocateMemory(MAX_RECORD_BYTES);
  const errors: Record<string, number> = {};
  const work = (): void => {
    injector.execute(batch);
    for (let i = 0; i < batch.count; i++) {
      const errno = batch.errno[i];
      if (errno !== 0) errors[errno] = (errors[errno] ?? 0) + 1;
    }
    batch.clear();
  };
  const since = performance.now();
  for (let n = first; n < first + count; n++) {
    recordFromFlow(mixedFlow(n, mark), record, 0);
    batch.add(GENERATOR_VERBS[verb as GeneratorVerb], 0, record, 0);
    if (batch.isFull) work();
  }
  work();
  injector.close();
  const durationMs = performance.now() - since;
  process.stdout.write(`${JSON.stringify({ flows: count, errors, durationMs })}\n`);
}

main(process.argv.slice(2));
