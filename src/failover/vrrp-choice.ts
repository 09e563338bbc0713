/** Which of keepalived's lines count: those of one group, or of one instance, so that states never fight. */
import { VRRP_NAMES_MAX } from '../limits.js';
import type { VrrpLine } from './vrrp-lines.js';

/** counts: the line is to be followed; alone: it is, unless another name shows up in a moment; ignored: it is not. */
export type VrrpVerdict = 'counts' | 'alone' | 'ignored';

/** With a name, its lines count. Without one the only group's do, or where there is no group, the only instance's. */
export class VrrpChoice {
  /** The group or instance that is followed; undefined until one was heard. */
  followed: string | undefined;
  readonly #name: string | undefined;
  readonly #groups = new Set<string>();
  readonly #instances = new Set<string>();

  constructor(name: string | undefined) {
    this.#name = name;
  }

  judge({ kind, name }: VrrpLine): VrrpVerdict {
    const names = kind === 'GROUP' ? this.#groups : this.#instances;
    if (names.size < VRRP_NAMES_MAX) names.add(name);
    if (this.#name !== undefined) {
      // An instance may have the name of its group, and then changes before it.
      if (name !== this.#name || (kind === 'INSTANCE' && this.#groups.has(name))) return 'ignored';
      this.followed = name;
      return 'counts';
    }
    if (kind === 'INSTANCE' && this.#groups.size > 0) return 'ignored';
    if (names.size > 1) {
      this.followed = undefined;
      return 'ignored';
    }
    // Its group's line may follow an instance's, another group's a group's: the first one counts only if it stays alone.
    const isKnown = this.followed === name;
    this.followed = name;
    return isKnown ? 'counts' : 'alone';
  }

  /** Why nothing is followed although keepalived speaks, and what to write; undefined: all is well. */
  get problem(): string | undefined {
    if (this.followed !== undefined) return undefined;
    const names = this.#groups.size > 0 ? this.#groups : this.#instances;
    if (names.size === 0) return undefined;
    const kind = this.#groups.size > 0 ? 'groups' : 'instances';
    const list = [...names].join(', ');
    if (this.#name !== undefined) {
      return `keepalived speaks of ${[...this.#groups, ...this.#instances].join(', ')}, never of ${this.#name}: write one of them as failover.vrrp_name`;
    }
    return `keepalived speaks of the ${kind} ${list}, and none is followed: write the one that counts as failover.vrrp_name`;
  }
}
