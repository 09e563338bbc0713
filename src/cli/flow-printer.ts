import { ControlError } from '../control/backend.js';
import { flowFromRecord } from '../flow/flow.js';
import { allocateMemory, lengthOf } from '../flow/record.js';
import { formatConntrack, formatJson } from '../flow/text.js';

/** Turns batches of packed records into lines of text. */
export class FlowPrinter {
  count = 0;
  readonly #format: 'conntrack' | 'extended' | 'json';

  constructor(format: 'conntrack' | 'extended' | 'json') {
    this.#format = format;
  }

  /** The lines of a batch. Throws ControlError if the records do not fill it exactly: another version's daemon. */
  text(packed: Uint8Array): string {
    // A copy, since what arrived need not stand at a multiple of 4.
    const memory = allocateMemory(packed.length);
    memory.u8.set(packed);
    let text = '';
    let at = 0;
    while (at < packed.length) {
      const length = at + 4 <= packed.length ? lengthOf(memory, at) : 0;
      if (length < 4 || length % 4 !== 0 || at + length > packed.length) {
        throw new ControlError(
          'failed',
          'the daemon speaks another record layout: use the same version of conntwin',
        );
      }
      const flow = flowFromRecord(memory, at);
      text +=
        this.#format === 'json'
          ? formatJson(flow)
          : formatConntrack(flow, { isExtended: this.#format === 'extended' });
      text += '\n';
      at += length;
      this.count++;
    }
    return text;
  }
}
