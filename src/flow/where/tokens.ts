/** An expression in words and signs, each with its place. */
import { WHERE_MAX_CHARACTERS } from '../../limits.js';
import { WhereError } from './where-error.js';

export interface Token {
  /** Quoted text is a word that is no keyword. */
  readonly kind: 'word' | 'quoted' | 'sign' | 'end';
  readonly text: string;
  /** Of its first character. */
  readonly index: number;
}

const SIGN = /(?:<=|>=|!=|==|=~|&&|\|\||[=<>(),!&|~])/y;
/** Names, numbers, addresses with a length, marks with a mask. */
const WORD = /[\w.:/*%+[\]-]+/y;
const SPACE = /\s*/y;
/** What other languages write, and this one's word for it. */
const FOREIGN: Readonly<Record<string, string>> = {
  '&&': '"and"',
  '&': '"and"',
  '||': '"or"',
  '|': '"or"',
  '!': '"not" or "!="',
  '==': '"="',
  '=~': '"="',
  '~': '"="',
};

/** The tokens, the last one of kind `end`. Throws WhereError. */
export function tokensOf(text: string): Token[] {
  if (text.length > WHERE_MAX_CHARACTERS) {
    throw new WhereError(
      text,
      WHERE_MAX_CHARACTERS,
      `longer than ${WHERE_MAX_CHARACTERS} characters: say it in fewer, with blocks and ranges`,
    );
  }
  const tokens: Token[] = [];
  let index = skipSpace(text, 0);
  while (index < text.length) {
    const token = tokenAt(text, index);
    tokens.push(token);
    index = skipSpace(text, index + token.text.length + (token.kind === 'quoted' ? 2 : 0));
  }
  tokens.push({ kind: 'end', text: '', index: text.length });
  return tokens;
}

function skipSpace(text: string, index: number): number {
  SPACE.lastIndex = index;
  return index + (SPACE.exec(text)?.[0].length ?? 0);
}

function tokenAt(text: string, index: number): Token {
  const first = text[index];
  if (first === '"' || first === "'") {
    const end = text.indexOf(first, index + 1);
    if (end < 0) throw new WhereError(text, index, `this ${first} has no second one`);
    return { kind: 'quoted', text: text.slice(index + 1, end), index };
  }
  SIGN.lastIndex = index;
  const sign = SIGN.exec(text)?.[0];
  if (sign !== undefined) {
    const known = FOREIGN[sign];
    if (known !== undefined)
      throw new WhereError(text, index, `"${sign}" is none of its signs: write ${known}`);
    return { kind: 'sign', text: sign, index };
  }
  WORD.lastIndex = index;
  const word = WORD.exec(text)?.[0];
  if (word === undefined) {
    throw new WhereError(text, index, `${JSON.stringify(first)} stands in no expression: see --help`);
  }
  return { kind: 'word', text: word, index };
}
