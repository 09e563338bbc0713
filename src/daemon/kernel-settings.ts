/**
 * Settings of this node's kernel that should be the same on all nodes: with another timeout, another idea of strictness
 * or a helper less, a flow that was taken over does not live on as it did.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { SETTINGS_INTERVAL_MS } from '../limits.js';
import { SETTINGS_MAX } from '../wire/control-messages.js';

const SYSCTLS = '/proc/sys/net/netfilter';
const MODULES = '/sys/module';
const PREFIX = 'nf_conntrack_';
/** Told first; all timeouts follow, as far as there is room. */
const NAMES = [
  'max',
  'buckets',
  'events',
  'tcp_be_liberal',
  'tcp_loose',
  'tcp_max_retrans',
  'tcp_ignore_invalid_rst',
];
/** Modules of conntrack that are no helpers. */
const NO_HELPERS = /^(netlink|bridge|broadcast|act_ct|ipv4|ipv6|proto_.*)$/;
/** A text that a peer takes. Bytes. */
const TEXT_MAX_BYTES = 64;

export type Setting = readonly [name: string, text: string];

/** Reads the settings, at most every SETTINGS_INTERVAL_MS. */
export class KernelSettings {
  readonly #clock: () => number;
  readonly #sysctls: string;
  readonly #modules: string;
  #settings: readonly Setting[] = [];
  #readAt = Number.NEGATIVE_INFINITY;

  /** `sysctls` and `modules` are directories as the kernel shows them. */
  constructor(clock: () => number, sysctls = SYSCTLS, modules = MODULES) {
    this.#clock = clock;
    this.#sysctls = sysctls;
    this.#modules = modules;
  }

  /** Names (without nf_conntrack_) and texts, at most SETTINGS_MAX; what this kernel does not have is left out. */
  read(): readonly Setting[] {
    const now = this.#clock();
    if (now - this.#readAt < SETTINGS_INTERVAL_MS) return this.#settings;
    this.#readAt = now;
    const timeouts = this.#list(this.#sysctls).filter((name) => name.includes('timeout'));
    const names = [...NAMES, ...timeouts.sort()].slice(0, SETTINGS_MAX - 1);
    const settings: Setting[] = [['helpers', this.#helpers()]];
    for (const name of names) {
      const text = this.#text(name);
      if (text !== undefined) settings.push([name, text]);
    }
    this.#settings = settings;
    return settings;
  }

  /** Helpers that this kernel has loaded, by name; those built in without a parameter do not show. */
  #helpers(): string {
    const names = this.#list(this.#modules).filter((name) => !NO_HELPERS.test(name));
    return names.sort().join(' ').slice(0, TEXT_MAX_BYTES);
  }

  /** What follows the prefix in the names of a directory. */
  #list(directory: string): string[] {
    try {
      return readdirSync(directory)
        .filter((name) => name.startsWith(PREFIX))
        .map((name) => name.slice(PREFIX.length));
    } catch {
      return [];
    }
  }

  #text(name: string): string | undefined {
    try {
      return readFileSync(`${this.#sysctls}/${PREFIX}${name}`, 'latin1').trim().slice(0, TEXT_MAX_BYTES);
    } catch {
      return undefined;
    }
  }
}
