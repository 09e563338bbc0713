/** Names of connection tracking labels, as the file that iptables and conntrack share tells them. */
import { readFileSync } from 'node:fs';

/** Where libnetfilter_conntrack looks too. */
export const LABELS_FILE = '/etc/xtables/connlabel.conf';
/** Labels are bits of a 16-byte field. */
const LABEL_MAX = 127;

/** Bits by name and names by bit. */
export class LabelMap {
  readonly #bits = new Map<string, number>();
  readonly #names: (string | undefined)[] = [];

  /** A label that the file does not name can be had by its number. */
  constructor(text: string) {
    for (const line of text.split('\n')) {
      const match = /^\s*([0-9]+)\s+(\S+)/.exec(line);
      const bit = Number(match?.[1] ?? -1);
      if (match === null || bit > LABEL_MAX) continue;
      this.#bits.set(match[2], bit);
      this.#names[bit] ??= match[2];
    }
  }

  bit(name: string): number | undefined {
    return this.#bits.get(name);
  }

  get known(): string[] {
    return [...this.#bits.keys()];
  }

  /** The names of the bits set in 16 bytes at `at`, ascending by bit; a bit without a name is left out. */
  namesOf(u8: Uint8Array, at: number): string[] {
    const names: string[] = [];
    for (let bit = 0; bit <= LABEL_MAX; bit++) {
      if ((u8[at + (bit >>> 3)] & (1 << (bit & 7))) === 0) continue;
      const name = this.#names[bit];
      if (name !== undefined) names.push(name);
    }
    return names;
  }
}

/** The system's labels; undefined if there is no such file. */
export function readLabelMap(file = LABELS_FILE): LabelMap | undefined {
  try {
    return new LabelMap(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}
