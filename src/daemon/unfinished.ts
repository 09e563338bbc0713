/**
 * A promote that the end of the daemon cut short: whose flows are still to be taken over, and what is lost if nobody has
 * them any more. The sources stand in the state file until they are done with, or this node steps back.
 */
import type { SourceView } from '../failover/ports.js';
import { isRival } from '../failover/sources.js';
import { type PersistedSource, unfinishedOf, type Unfinished as Written } from '../failover/state.js';
import { JOIN_WAIT_MS, RESUME_PROVE_MS } from '../limits.js';
import type { Core } from './core.js';

export class Unfinished {
  readonly #core: Core;
  #left: Written = { sources: [] };
  /** When the node was ready: its kernel's flows are known from then on. */
  #readyAt = -1;
  #missing = 0;
  #isSaid = false;

  constructor(core: Core) {
    this.#core = core;
    const { restored } = core.options;
    if (restored?.role === 'primary') this.#left = unfinishedOf(restored);
  }

  get sources(): readonly PersistedSource[] {
    return this.#left.sources;
  }

  get isEmpty(): boolean {
    return this.#left.sources.length === 0;
  }

  /** This node stepped back, or a promote has settled everything. */
  clear(): void {
    this.#left = { sources: [] };
  }

  /** What a promote that takes over these nodes leaves. */
  without(nodes: readonly string[]): Written {
    const sources = this.#left.sources.filter(({ node }) => !nodes.includes(node));
    return sources.length === 0 ? { sources } : { ...this.#left, sources };
  }

  /** These nodes' flows were taken over now. */
  done(nodes: readonly string[]): void {
    this.#left = this.without(nodes);
  }

  /** Names of the sources that are known again, once their replicas are proven or will not be soon. */
  ready(now: number, views: readonly SourceView[]): string[] {
    if (this.isEmpty) return [];
    this.#begin(now);
    const all = this.#known(views);
    // Who was promoted since then, and lives, keeps its flows until it steps back.
    const known = all.filter((view) => !isRival(view, this.#core.replicator.term));
    const isSettled = (view: SourceView) => view.isAlive && view.isReady && view.isProven;
    const isLate = now - this.#readyAt >= RESUME_PROVE_MS;
    if (known.length === 0 || !(isLate || known.every(isSettled))) {
      const isLost = all.length === 0 && !views.some(({ lends }) => lends);
      if (now - this.#readyAt >= JOIN_WAIT_MS && isLost) this.#say();
      return [];
    }
    return known.map(({ node }) => node);
  }

  /**
   * A source is there, and is to be taken over in whole: it must not be asked first to give back what it took from this
   * node, which never had all of it.
   */
  isAwaited(views: readonly SourceView[]): boolean {
    return this.#known(views).length > 0;
  }

  #known(views: readonly SourceView[]): SourceView[] {
    return views.filter((view) => this.#left.sources.some(({ node }) => node === view.node));
  }

  /** What an operator must know, in one line each. */
  reasons(): string[] {
    return this.#left.sources.map(({ node }) => this.#reason(node));
  }

  #begin(now: number): void {
    if (this.#readyAt >= 0) return;
    this.#readyAt = now;
    const { toCreate = 0, kernelFlows = 0 } = this.#left;
    const { table, ports } = this.#core;
    this.#missing = Math.max(0, toCreate - Math.max(0, table.kernelCount - kernelFlows));
    ports.log('warn', 'a promote was cut short by the end of the daemon, going on with it', {
      sources: this.#left.sources.map(({ node }) => node),
      toCreate,
      missing: this.#missing,
    });
  }

  /** Nobody of the sources is heard. */
  #say(): void {
    if (this.#isSaid) return;
    this.#isSaid = true;
    for (const { node } of this.#left.sources) {
      this.#core.ports.log('error', this.#reason(node), { peer: node, missing: this.#missing });
    }
  }

  #reason(node: string): string {
    const { toCreate } = this.#left;
    const what = toCreate === undefined ? 'an unknown number of' : `about ${this.#missing} of ${toCreate}`;
    return (
      `a promote was cut short by the end of the daemon: ${what} flows of ${node} are not in this kernel, ` +
      `and are lost unless ${node} comes back with them`
    );
  }
}
