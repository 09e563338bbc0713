/** Names of connection tracking labels, as the file that iptables and conntrack share tells them. */
import { readFileSync } from 'node:fs';
import { refuse } from './values.js';

/** Where libnetfilter_conntrack looks too. */
export const LABELS_FILE = '/etc/xtables/connlabel.conf';
/** Labels are bits of a 16-byte field. */
const LABEL_MAX = 127;

/** Bits by name and names by bit. */
export class LabelMap {
  readonly #bits = new Map<string, number>();
  readonly #names: (string | undefined)[] = [];

  /** Where the names stand, for messages. */
  readonly file: string;

  /** Lines of a number and a name; others are no labels. */
  constructor(text: string, file: string) {
    this.file = file;
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
export function readLabelMap(): LabelMap | undefined {
  try {
    return new LabelMap(readFileSync(LABELS_FILE, 'utf8'), LABELS_FILE);
  } catch {
    return undefined;
  }
}

/** The labels of the file that --labelmap names; throws ParameterError. */
export function readNamedLabelMap(written: string, file: string): LabelMap {
  try {
    return new LabelMap(readFileSync(file, 'utf8'), file);
  } catch (error) {
    const { code = 'ENOENT' } = error as NodeJS.ErrnoException;
    return refuse(written, file, `a file that can be read (${code}): give one of lines such as "1 name"`);
  }
}
