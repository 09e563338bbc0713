import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Core } from '../../../src/daemon/core.js';
import { listFlows } from '../../../src/daemon/flow-listing.js';
import { CounterMap } from '../../../src/flow/counters.js';
import { DUMP_DONE, DUMP_INTERRUPTED, DUMP_MORE, DUMP_PENDING } from '../../../src/flow/kernel-port.js';
import type { DumperOptions } from '../../../src/kernel/dumper.js';
import { FlowTable } from '../../../src/table/flow-table.js';

const ARRIVAL_MS = 20;
/** What the dump's steps come to, in order. */
let states: number[] = [];
let steps = 0;

vi.mock('../../../src/kernel/dumper.js', () => ({
  Dumper: class {
    readonly error = undefined;
    private isInPool = false;
    constructor(private readonly options: DumperOptions) {}
    start(): void {
      // Nothing to ask.
    }
    next(): number {
      steps++;
      if (this.isInPool) return DUMP_PENDING;
      const state = states.shift() ?? DUMP_DONE;
      this.isInPool = state === DUMP_PENDING;
      if (this.isInPool) setTimeout(() => this.arrive(), ARRIVAL_MS);
      return state;
    }
    private arrive(): void {
      this.isInPool = false;
      this.options.onArrival?.();
    }
    close(): void {
      // Nothing is open.
    }
  },
}));

afterEach(() => {
  steps = 0;
});

function list(): Promise<number> {
  const core = { table: new FlowTable({ seed: new Uint32Array(4), maxFlows: 1000 }) } as unknown as Core;
  const request = { table: 'kernel', node: '', filter: {} } as const;
  return listFlows(core, new CounterMap(), request, () => undefined, new AbortController().signal);
}

describe('the kernel table', () => {
  test('while a thread waits for the kernel the event loop rests', async () => {
    states = [DUMP_PENDING, DUMP_MORE, DUMP_PENDING, DUMP_DONE];
    expect(await list()).toBe(0);
    expect(steps).toBe(4);
  });

  test('a dump that was cut short is an error and no short list', async () => {
    states = [DUMP_MORE, DUMP_INTERRUPTED];
    await expect(list()).rejects.toThrow(
      'could not be read whole: it changed its size meanwhile: list again',
    );
  });
});
