/**
 * A DECLARE says that the image is what the sender has now: what it has taken over is in it, what it has given away is
 * not. What stood in a stream for a flow is known by its hash: the record may have changed since.
 */
import { KeyedHash, seedFromText } from '../../../src/flow/hash.js';
import { allocateMemory, lengthOf, OFF_KEY } from '../../../src/flow/record.js';
import { OWNER_SELF } from '../../../src/table/slot-bits.js';
import type { DaemonRun } from './daemon-run.js';
import { durableText, keyText } from './machine.js';
import type { StreamRecord } from './stream-record.js';
import { writeText } from './takeover-watch.js';

export class Restatement {
  readonly #streams: () => readonly StreamRecord[];
  readonly #hash = new KeyedHash(seedFromText('sim'));
  readonly #m = allocateMemory(1024);

  /** `streams`: all that were ever recorded. */
  constructor(streams: () => readonly StreamRecord[]) {
    this.#streams = streams;
  }

  /** The last frame of the stream has a DECLARE: its image is what the run's table says. */
  all(run: DaemonRun, stream: StreamRecord): void {
    const { table } = run.core;
    const has = new Set<string>();
    for (let slot = 0; slot < table.slotLimit; slot++) {
      if (!table.isUsed(slot) || table.owner(slot) !== OWNER_SELF || !table.hasImage(slot)) continue;
      const at = table.recordAt(slot);
      const key = keyText(table.memory, at);
      has.add(key);
      const isIt = (value: string) => this.#isHash(value, table.imageLo(slot), table.imageHi(slot));
      const last = stream.last(key);
      if (last !== undefined && isIt(last)) continue;
      const now = durableText(table.memory, at);
      stream.restate(key, isIt(now) ? now : this.#said(key, isIt));
    }
    for (const [key, { values }] of stream.keys) {
      if (values.at(-1) !== undefined && !has.has(key)) stream.restate(key, undefined);
    }
  }

  /** What some stream has said of the key, by its hash; empty if none has. */
  #said(key: string, isIt: (value: string) => boolean): string {
    for (const { keys } of this.#streams()) {
      const value = keys.get(key)?.values.findLast((v) => v !== undefined && v !== '' && isIt(v));
      if (value !== undefined) return value;
    }
    return '';
  }

  #isHash(value: string, lo: number, hi: number): boolean {
    writeText(this.#m, value);
    this.#hash.words(this.#m.u32, OFF_KEY >>> 2, lengthOf(this.#m, 0) >>> 2);
    const word = this.#hash.lo | this.#hash.hi ? this.#hash.lo : 1;
    return word >>> 0 === lo >>> 0 && this.#hash.hi >>> 0 === hi >>> 0;
  }
}
