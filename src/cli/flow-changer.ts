/** `flows update` and `flows delete`: every flow that is meant, in batches, with a count of what became of each. */
import { ENOENT } from '../../native/libc.js';
import { errnoName } from '../../native/system-error.js';
import { FlowChange } from '../conntrack/flow-change.js';
import { statusOf } from '../conntrack/flow-match.js';
import { newSettings, type Settings } from '../conntrack/settings.js';
import { ControlError } from '../control/backend.js';
import { IPS_FIXED_TIMEOUT, STATUS_NAMES } from '../flow/conntrack-enums.js';
import { CounterMap } from '../flow/counters.js';
import { KernelBatch, OP_DELETE } from '../flow/kernel-port.js';
import { type Memory, OFF_PROTOCOL } from '../flow/record.js';
import { CTA_TIMEOUT } from '../kernel/enums.js';
import { Injector } from '../kernel/injector.js';
import { explainNoAccess } from '../kernel/kernel-error.js';
import { INJECT_BATCH } from '../limits.js';
import { labels, mark, seconds, stateNumbers, statusNames } from './flow-words.js';

/** What became of the flows that were meant. */
export interface ChangeCounts {
  /** Changed or deleted; or, if nothing was to be done, those that would be. */
  done: number;
  /** Of an update: as wanted already. */
  unchanged: number;
  /** Gone by themselves meanwhile. */
  gone: number;
  refused: number;
  /** Why the last one was refused. */
  reason: string;
}

export interface Changer {
  readonly counts: ChangeCounts;
  take(m: Memory, at: number): void;
  /** Does what has piled up. */
  flush(): void;
  close(): void;
}

function openInjector(operation: string): Injector {
  const injector = new Injector(new CounterMap());
  const errno = injector.probe();
  if (errno === 0) return injector;
  injector.close();
  throw explainNoAccess(operation, errno);
}

const noCounts = (): ChangeCounts => ({ done: 0, unchanged: 0, gone: 0, refused: 0, reason: '' });

/** Deletes each flow by its tuple and id: one that takes the tuple of another that just ended stays. */
export class FlowDeleter implements Changer {
  readonly counts = noCounts();
  readonly #batch = new KernelBatch(INJECT_BATCH);
  readonly #injector: Injector | undefined;

  /** `isDry`: only counts. Throws SystemError without the right to delete. */
  constructor(isDry: boolean) {
    this.#injector = isDry ? undefined : openInjector('delete flows');
  }

  take(m: Memory, at: number): void {
    if (this.#injector === undefined) {
      this.counts.done++;
      return;
    }
    if (this.#batch.isFull) this.flush();
    this.#batch.add(OP_DELETE, 0, m, at);
  }

  flush(): void {
    const batch = this.#batch;
    if (batch.count === 0) return;
    this.#injector?.execute(batch);
    for (let i = 0; i < batch.count; i++) count(this.counts, batch.errno[i]);
    batch.clear();
  }

  close(): void {
    this.#injector?.close();
  }
}

function count(counts: ChangeCounts, errno: number): void {
  if (errno === 0) counts.done++;
  else if (errno === ENOENT) counts.gone++;
  else {
    counts.refused++;
    counts.reason = errno < 0 ? 'its answer was lost' : errnoName(errno);
  }
}

export interface UpdateOptions {
  mark?: string;
  timeout?: string;
  setState?: string;
  setStatus?: string;
  addLabel?: string;
  removeLabel?: string;
}

/** Changes what is not as wanted yet. */
export class FlowUpdater implements Changer {
  readonly counts = noCounts();
  readonly #injector: Injector | undefined;
  readonly #settings: Settings;
  readonly #states: Int8Array | undefined;
  readonly #change: FlowChange;

  /** Throws ControlError (`invalid`) for a value that is none or if nothing is to change, SystemError without the right. */
  constructor(options: UpdateOptions, isDry: boolean) {
    this.#settings = settingsOf(options);
    this.#states = options.setState === undefined ? undefined : stateNumbers('--set-state', options.setState);
    this.#change = new FlowChange(this.#settings);
    this.#injector = isDry ? undefined : openInjector('update flows');
  }

  take(m: Memory, at: number): void {
    const { counts } = this;
    const state = this.#states?.[m.u8[at + OFF_PROTOCOL]];
    if (state !== undefined && state < 0) {
      counts.refused++;
      counts.reason = 'its protocol has no such state';
      return;
    }
    if (state !== undefined) this.#settings.state = state;
    const attributes = this.#change.prepare(m, at);
    if (attributes === 0) counts.unchanged++;
    else if ((attributes & (1 << CTA_TIMEOUT)) !== 0 && (statusOf(m, at) & IPS_FIXED_TIMEOUT) !== 0) {
      // The kernel would change the rest and then refuse.
      counts.refused++;
      counts.reason = 'it has a fixed timeout';
    } else count(counts, this.#injector?.change(this.#change.m, 0, attributes) ?? 0);
  }

  flush(): void {
    // Each was told at once.
  }

  close(): void {
    this.#injector?.close();
  }
}

function settingsOf(options: UpdateOptions): Settings {
  const settings = newSettings('U', 'conntrack', new Set());
  if (Object.values(options).every((value) => value === undefined)) {
    const words = '--mark, --timeout, --set-state, --set-status, --add-label, --remove-label';
    throw new ControlError('invalid', `nothing to change: give one of ${words}`);
  }
  if (options.mark !== undefined) settings.mark = mark('--mark', options.mark);
  if (options.timeout !== undefined) settings.timeout = seconds('--timeout', options.timeout);
  if (options.setStatus !== undefined) {
    const names = statusNames('--set-status', options.setStatus);
    settings.status = {
      set: names.reduce((bits, name) => bits | (1 << STATUS_NAMES.indexOf(name)), 0),
      clear: 0,
    };
  }
  if (options.addLabel !== undefined) settings.labelsAdded = labelBits('--add-label', options.addLabel);
  if (options.removeLabel !== undefined) {
    const isAll = options.removeLabel === 'all';
    settings.labelsDeleted = isAll ? 'all' : labelBits('--remove-label', options.removeLabel);
  }
  return settings;
}

function labelBits(option: string, text: string): Uint8Array {
  const bits = new Uint8Array(16);
  for (const label of labels(option, text)) bits[label >>> 3] |= 1 << (label & 7);
  return bits;
}
