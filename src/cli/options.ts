import { InvalidArgumentError } from 'commander';

/** A parser for an argument that is one of some words. */
export function choice<Word extends string>(what: string, words: readonly Word[]): (text: string) => Word {
  return (text) => {
    const word = words.find((known) => known === text);
    if (word === undefined) throw new InvalidArgumentError(`The ${what} is one of ${words.join(', ')}.`);
    return word;
  };
}

/** A parser for a whole number from 0 to 65535: a port, a zone. */
export function u16(what: string): (text: string) => number {
  return (text) => {
    const value = /^\d{1,5}$/.test(text) ? Number(text) : -1;
    if (value < 0 || value > 0xffff)
      throw new InvalidArgumentError(`The ${what} is a number from 0 to 65535.`);
    return value;
  };
}

/** A parser for a whole number from 1 to a limit. */
export function atMost(what: string, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,10}$/.test(text) ? Number(text) : 0;
    if (value < 1 || value > max) throw new InvalidArgumentError(`The ${what} is a number from 1 to ${max}.`);
    return value;
  };
}

/** A parser for words separated by commas, upper case as the kernel's names; may be given again. */
export function words(text: string, before: string[] = []): string[] {
  return [...before, ...text.toUpperCase().split(',')];
}
