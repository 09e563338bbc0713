/**
 * Settings of the nodes' kernels that should agree: each node says its own, and compares what the others say. A
 * difference is a warning for the operator; nothing in the protocol depends on it.
 */
import { NAME_MAX_BYTES, SETTINGS_INTERVAL_MS } from '../limits.js';
import { SETTINGS_MAX, type Settings } from '../wire/control-messages.js';
import { CONTROL_SETTINGS } from '../wire/ops.js';
import type { Peer } from './peer.js';
import type { SettingDifference } from './ports.js';
import type { Self } from './self.js';

/** Settings in one message: as many as fit the smallest MTU with the longest names and texts. */
const MESSAGE_SETTINGS = 7;

export class SettingsExchange {
  readonly #self: Self;
  #nextAt = Number.NEGATIVE_INFINITY;
  #peers = 0;

  constructor(self: Self) {
    this.#self = self;
  }

  /** Says the settings in turns, and soon to newcomers. */
  tick(now: number): void {
    const { peers } = this.#self;
    const isNews = peers.length > this.#peers;
    this.#peers = peers.length;
    if (peers.length === 0 || (now < this.#nextAt && !isNews)) return;
    this.#nextAt = now + SETTINGS_INTERVAL_MS;
    const mine = this.#mine();
    for (let i = 0; i < mine.length; i += MESSAGE_SETTINGS) {
      this.#self.say({ type: CONTROL_SETTINGS, settings: mine.slice(i, i + MESSAGE_SETTINGS) });
    }
  }

  receive(peer: Peer, message: Settings): void {
    for (const [name, text] of message.settings) {
      if (peer.settings.size >= SETTINGS_MAX && !peer.settings.has(name)) {
        this.#self.ports.counters.count('settings.too-many');
        return;
      }
      peer.settings.set(name, text);
    }
  }

  /** What differs between this node and live peers. A setting that one of both does not have is no difference. */
  differing(): SettingDifference[] {
    const found: SettingDifference[] = [];
    const mine = this.#mine();
    for (const peer of this.#self.peers) {
      if (!peer.isAlive) continue;
      for (const [name, text] of mine) {
        const theirs = peer.settings.get(name);
        if (theirs !== undefined && theirs !== text)
          found.push({ node: peer.node, name, mine: text, theirs });
      }
    }
    return found;
  }

  #mine(): [string, string][] {
    const settings = this.#self.ports.settings?.() ?? [];
    return settings.slice(0, SETTINGS_MAX).map(([name, text]) => [cut(name), cut(text)]);
  }
}

/** A text of at most NAME_MAX_BYTES on the wire, whatever its characters. */
function cut(text: string): string {
  let end = Math.min(text.length, NAME_MAX_BYTES);
  const bytes = new TextEncoder();
  while (bytes.encode(text.slice(0, end)).length > NAME_MAX_BYTES) end--;
  return text.slice(0, end);
}
