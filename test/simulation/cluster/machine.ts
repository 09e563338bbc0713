/** One firewall: its kernel, its disk, and the daemon that runs on it now. */
import type { PersistedState } from '../../../src/failover/state.js';
import { addressBytes, lengthOf, type Memory, OFF_KEY, offReplySrc } from '../../../src/flow/record.js';
import { CipherTwin } from '../cipher-twin.js';
import { KernelTwin, type TwinKnobs } from '../kernel-twin.js';
import type { TwinFlow } from '../kernel-twin-flows.js';
import type { DaemonRun } from './daemon-run.js';
import type { Schedule } from './schedule.js';

/** The key of the record at `at`, one character a byte. */
export function keyText(m: Memory, at: number): string {
  return slice(m, at + OFF_KEY, at + offReplySrc(addressBytes(m, at)));
}

/** Its durable bytes. */
export function durableText(m: Memory, at: number): string {
  return slice(m, at + OFF_KEY, at + lengthOf(m, at));
}

const slice = (m: Memory, from: number, to: number): string =>
  Buffer.from(m.u8.buffer, m.u8.byteOffset, m.u8.byteLength).toString('latin1', from, to);

/** Keys as a reader of a failure wants them. */
export const showText = (bytes: string | undefined): string =>
  bytes === undefined ? 'nothing' : Buffer.from(bytes, 'latin1').toString('hex');

/** How a flow ended in a kernel. */
export interface FlowEnd {
  readonly flow: TwinFlow;
  /** Order among all that happens. */
  readonly order: number;
  /** The run of a primary whose own the flow was then, and what events it had lost. */
  readonly run: DaemonRun | undefined;
  readonly lost: number;
  /** Its term. */
  readonly term: number;
}

export class Machine {
  readonly name: string;
  readonly index: number;
  twin: KernelTwin;
  bootId: string;
  disk: PersistedState | undefined;
  /** The key file as this machine has it. */
  readonly cipher = new CipherTwin();
  run: DaemonRun | undefined;
  readonly drift: number;
  /** What its kernel takes for a request. Milliseconds. */
  requestMs = 0;
  /** Order of the last step after which only an audit can know what the kernel has. */
  lastHiddenChange = 0;
  /** The same as an order among all that happens. */
  hiddenAt = 0;
  /** The same of what changed a flow, or what is known of it: not what only moved it to another owner. */
  unheardAt = 0;
  /** Faults that swap its events now: until they end the order of events proves nothing. */
  unordered = 0;
  /** Order of the last packet of a key that passed this machine (invariant 5). */
  readonly packetAt = new Map<string, number>();
  /** The last end of a key in this kernel that was none of the daemon's doing. */
  readonly ends = new Map<string, FlowEnd>();
  /** Incarnations from which its promotes have taken over, and keys that they found there. */
  readonly sources = new Set<string>();
  readonly taken = new Set<string>();
  readonly #schedule: Schedule;
  readonly #random: () => number;
  readonly #knobs: Partial<TwinKnobs>;
  #boots = 0;

  constructor(
    name: string,
    index: number,
    drift: number,
    schedule: Schedule,
    random: () => number,
    knobs: Partial<TwinKnobs>,
  ) {
    this.name = name;
    this.index = index;
    this.drift = drift;
    this.#schedule = schedule;
    this.#random = random;
    this.#knobs = knobs;
    this.bootId = '';
    this.twin = this.boot();
  }

  /** A new kernel with an empty table. */
  boot(): KernelTwin {
    this.bootId = `boot-${this.name}-${++this.#boots}`;
    this.disk = undefined;
    this.packetAt.clear();
    this.ends.clear();
    this.sources.clear();
    this.taken.clear();
    const now = () => this.#schedule.now;
    this.twin = new KernelTwin({ now, random: this.#random, ...this.#knobs });
    return this.twin;
  }

  /** A packet of this key passes. */
  sees(key: string): void {
    this.packetAt.set(key, this.#schedule.mark());
  }

  /** Something happened in the kernel that no event tells in time, or in order. */
  hide(): void {
    this.hideOwners();
    this.unheardAt = this.hiddenAt;
  }

  /** Flows were given away or taken over: what they are has not changed, but an audit is to look whose they are. */
  hideOwners(): void {
    this.lastHiddenChange = this.#schedule.steps;
    this.hiddenAt = this.#schedule.mark();
  }
}
