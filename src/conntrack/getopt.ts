/**
 * A command line in the manner of getopt_long: letters in one word (`-Lo id`), values glued on or in the next word, long
 * names shortened as far as they stay clear, options and other words in any order, `--` before what is no option. Unlike
 * getopt's, an optional value may stand in the next word when that does not look like an option: conntrack(8) has
 * always taken `-n 192.0.2.1` so.
 */
import { ParameterError } from './errors.js';
import { type OptionSpec, spelled } from './options.js';

/** One option that was met, as it was written. */
export interface Given {
  readonly spec: OptionSpec;
  /** `-s` or `--src`, for messages. */
  readonly written: string;
  readonly value: string | undefined;
}

/** A word that looks like an option: a dash alone is a word, and so is a negative number. */
const looksLikeOption = (word: string): boolean => word.startsWith('-') && word !== '-';

/** Reads one word after the other; which options there are may grow meanwhile (`-p` brings its protocol's). */
export class OptionReader {
  readonly words: readonly string[];
  /** Words that are no options. */
  readonly rest: string[] = [];
  #specs: readonly OptionSpec[];
  #next = 0;
  /** Letters still unread of a word such as -Lo. */
  #letters = '';

  constructor(words: readonly string[], specs: readonly OptionSpec[]) {
    this.words = words;
    this.#specs = specs;
  }

  /** From now on these options are known as well, in place of those added before. */
  know(specs: readonly OptionSpec[]): void {
    this.#specs = specs;
  }

  /** The next option, or undefined at the end. Throws ParameterError with the option's name. */
  next(explainUnknown: (name: string) => string): Given | undefined {
    for (;;) {
      if (this.#letters !== '') return this.#letter(explainUnknown);
      const word = this.words[this.#next];
      if (word === undefined) return undefined;
      this.#next++;
      if (word === '--') {
        this.rest.push(...this.words.slice(this.#next));
        this.#next = this.words.length;
        return undefined;
      }
      if (word.startsWith('--')) return this.#long(word.slice(2), explainUnknown);
      if (looksLikeOption(word)) this.#letters = word.slice(1);
      else this.rest.push(word);
    }
  }

  #letter(explainUnknown: (name: string) => string): Given {
    const letter = this.#letters[0];
    const glued = this.#letters.slice(1);
    const written = `-${letter}`;
    const spec = this.#specs.find((candidate) => candidate.letter === letter);
    if (spec === undefined) throw new ParameterError(`${written}: ${explainUnknown(letter)}`);
    this.#letters = '';
    if (spec.argument === 'none') {
      this.#letters = glued;
      return { spec, written, value: undefined };
    }
    // A command is followed by more letters (-Lo id), not by its table.
    if (spec.argument === 'optional' && glued !== '' && spec.isCommand) {
      this.#letters = glued;
      return { spec, written, value: undefined };
    }
    return { spec, written, value: glued === '' ? this.#value(spec, written) : glued };
  }

  #long(text: string, explainUnknown: (name: string) => string): Given {
    const equals = text.indexOf('=');
    const name = equals < 0 ? text : text.slice(0, equals);
    const spec = this.#find(name, explainUnknown);
    const written = spelled(name);
    if (equals < 0) return { spec, written, value: this.#value(spec, written) };
    if (spec.argument === 'none') {
      throw new ParameterError(`${written}: it takes no value: leave "${text.slice(equals)}" out`);
    }
    return { spec, written, value: text.slice(equals + 1) };
  }

  #find(name: string, explainUnknown: (name: string) => string): OptionSpec {
    const names = (spec: OptionSpec) => [spec.name, ...(spec.also ?? [])];
    const exact = this.#specs.find((spec) => names(spec).includes(name));
    if (exact !== undefined) return exact;
    const candidates = this.#specs.flatMap((spec) =>
      names(spec)
        .filter((long) => long.startsWith(name) && name !== '')
        .map((long) => ({ spec, long })),
    );
    if (candidates.length === 0) throw new ParameterError(`${spelled(name)}: ${explainUnknown(name)}`);
    if (new Set(candidates.map(({ spec }) => spec)).size > 1) {
      const list = candidates.map(({ long }) => spelled(long)).join(', ');
      throw new ParameterError(`${spelled(name)}: it may be short for ${list}: write more of it`);
    }
    return candidates[0].spec;
  }

  /** The value in the next word, if there is one. */
  #value(spec: OptionSpec, written: string): string | undefined {
    if (spec.argument === 'none') return undefined;
    const word = this.words[this.#next];
    if (spec.argument === 'optional') {
      if (word === undefined || looksLikeOption(word)) return undefined;
    } else if (word === undefined) {
      throw new ParameterError(`${written}: it needs a value, and none follows`);
    }
    this.#next++;
    return word;
  }
}
