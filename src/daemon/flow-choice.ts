/** Which flows this node replicates: the configured filter, the sync links left out, and the flows that end here. */

import type { Log } from '../flow/log.js';
import type { Memory } from '../flow/record.js';
import { ReplicateFilter } from '../flow/replicate-filter.js';
import type { EventFilter } from '../kernel/event-program.js';
import type { ReplicateConfig } from './config.js';
import type { CoreOptions } from './core.js';
import { OwnAddresses } from './own-addresses.js';

/** Packets that never leave this machine: no other can go on with their flows, whatever is configured. */
const LOOPBACK = ['127.0.0.0/8', '::1'];

/** The filter in the forms in which kernel, table and stream ask it. Close it when done. */
export class FlowChoice {
  /** For the event socket. */
  readonly events: EventFilter;
  /** For the core. */
  readonly options: Pick<CoreOptions, 'ignore' | 'passes' | 'minAgeMs' | 'isLocal' | 'hasLeft'>;
  readonly #own: OwnAddresses;

  /**
   * `links`: addresses of the sync links; `onChange` is called when other flows are local than before. Throws
   * SystemError if this machine's addresses cannot be read, RangeError on a rule that is none.
   */
  constructor(replicate: ReplicateConfig, links: readonly string[], log: Log, onChange: () => void) {
    const excluded = [...links, ...LOOPBACK];
    const filter = new ReplicateFilter(replicate, excluded);
    this.events = { rules: replicate, own: excluded };
    const isLocalIgnored = replicate.ignore.local;
    this.#own = new OwnAddresses({ log, onChange: isLocalIgnored ? onChange : () => {} });
    const { local } = this.#own;
    const isLocal = (m: Memory, at: number) => local.isLocal(m, at);
    this.options = {
      ignore: (m, at) => filter.ignores(m, at) || (isLocalIgnored && local.isLocal(m, at)),
      // Whatever is replicated, a purge takes none of this machine's own connections.
      isLocal,
      hasLeft: (m, at) => this.#own.hasLeft(m, at),
      ...(filter.hasMutable ? { passes: (m, at) => filter.passes(m, at) } : {}),
      minAgeMs: replicate.minAgeMs,
    };
  }

  close(): void {
    this.#own.close();
  }
}
