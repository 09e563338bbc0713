/**
 * Which link data goes to: the first one on which every live receiver says that it hears this node. HELLO, WELCOME
 * and HEARTBEAT go on all links, so every link is judged all the time, used or not. Links have the same order on all
 * nodes.
 */
import { HEARTBEAT_INTERVAL_MS } from '../limits.js';
import type { Peer } from './peer.js';
import type { Self } from './self.js';

/** A receiver hears a link if its last valid frame there is no older: three heartbeats may be lost. Milliseconds. */
const HEARD_MS = 3.5 * HEARTBEAT_INTERVAL_MS;
/** Health of a better link before data returns to it. Milliseconds. */
const SWITCH_BACK_MS = 5000;

export class LinkChoice {
  readonly #self: Self;
  /** Since when every live receiver hears each link; infinite while it does not. */
  readonly #fitSince: Float64Array;

  constructor(self: Self) {
    this.#self = self;
    this.#fitSince = new Float64Array(self.links).fill(Number.POSITIVE_INFINITY);
  }

  /** A stall of this node was no illness of its links, and no health either. */
  stalled(pause: number): void {
    for (let i = 0; i < this.#fitSince.length; i++) this.#fitSince[i] += pause;
  }

  tick(now: number): void {
    const self = this.#self;
    if (self.links === 1) return;
    const receivers = self.peers.reduce((n, p) => n + (p.isAlive && p.isReceiver ? 1 : 0), 0);
    if (receivers === 0) return;
    let best = self.dataLink;
    let bestHeard = this.#heardBy(best, now);
    const isFit = bestHeard === receivers;
    for (let link = 0; link < self.links; link++) {
      const heard = this.#heardBy(link, now);
      if (heard < receivers) this.#fitSince[link] = Number.POSITIVE_INFINITY;
      else if (this.#fitSince[link] > now) this.#fitSince[link] = now;
      if (!isFit && heard > bestHeard) {
        best = link;
        bestHeard = heard;
      }
    }
    if (isFit) best = this.#healthier(now);
    if (best === self.dataLink) return;
    self.ports.counters.count('link.switched');
    self.ports.log('warn', 'data goes to another link', { from: self.dataLink, to: best });
    self.dataLink = best;
  }

  /** The first link that has been well for long, before the one in use. */
  #healthier(now: number): number {
    const { dataLink } = this.#self;
    for (let link = 0; link < dataLink; link++) {
      if (now - this.#fitSince[link] >= SWITCH_BACK_MS) return link;
    }
    return dataLink;
  }

  #heardBy(link: number, now: number): number {
    const { peers } = this.#self;
    let n = 0;
    for (let i = 0; i < peers.length; i++) if (isHearing(peers[i], link, now)) n++;
    return n;
  }
}

function isHearing(peer: Peer, link: number, now: number): boolean {
  return peer.isAlive && peer.isReceiver && peer.hearsUsMs(link, now) <= HEARD_MS;
}
