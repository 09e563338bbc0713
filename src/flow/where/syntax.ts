/**
 * The grammar of an expression:
 *
 *     any   = all { "or" all }
 *     all   = one { "and" one }
 *     one   = "not" one | "(" any ")" | test
 *     test  = FIELD sign VALUE | FIELD ["not"] "in" (VALUE | "(" VALUE { "," VALUE } ")") | FLAG
 *     sign  = "=" | "!=" | "<" | "<=" | ">" | ">="
 */
import { WHERE_DEPTH_MAX, WHERE_SET_MAX } from '../../limits.js';
import { type Token, tokensOf } from './tokens.js';
import { WhereError } from './where-error.js';

export type Sign = '=' | '!=' | '<' | '<=' | '>' | '>=';

export type Expression =
  | { readonly kind: 'and' | 'or'; readonly parts: readonly Expression[] }
  | { readonly kind: 'not'; readonly of: Expression }
  /** Several values: one of them, or with `!=` none. */
  | {
      readonly kind: 'test';
      readonly field: Token;
      readonly sign: Sign;
      readonly signAt: Token;
      readonly values: readonly Token[];
    }
  | { readonly kind: 'flag'; readonly flag: Token };

const SIGNS: readonly string[] = ['=', '!=', '<', '<=', '>', '>='] satisfies Sign[];
const KEYWORDS = ['and', 'or', 'not', 'in'];

const isKeyword = (token: Token, word: string): boolean =>
  token.kind === 'word' && token.text.toLowerCase() === word;

class Parser {
  readonly #text: string;
  readonly #tokens: readonly Token[];
  #next = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
    this.#tokens = tokensOf(text);
  }

  whole(): Expression {
    if (this.#isAtEnd()) this.#fail('an expression is wanted, such as proto=tcp and dport=443');
    const expression = this.#any();
    if (!this.#isAtEnd()) {
      this.#fail(
        this.#token.text === ')'
          ? 'this ) closes nothing'
          : `"and" or "or" is wanted before ${this.#shown}, or quotes around a value with spaces`,
      );
    }
    return expression;
  }

  get #token(): Token {
    return this.#tokens[this.#next];
  }

  #isAtEnd(): boolean {
    return this.#token.kind === 'end';
  }

  get #shown(): string {
    return this.#token.kind === 'end' ? 'the end' : `"${this.#token.text}"`;
  }

  #fail(problem: string): never {
    throw new WhereError(this.#text, this.#token.index, problem);
  }

  #takes(text: string): boolean {
    const { kind } = this.#token;
    const isIt = kind === 'sign' ? this.#token.text === text : isKeyword(this.#token, text);
    if (isIt) this.#next++;
    return isIt;
  }

  #any(): Expression {
    return this.#joined('or', () => this.#joined('and', () => this.#one()));
  }

  #joined(kind: 'and' | 'or', part: () => Expression): Expression {
    const parts = [part()];
    while (this.#takes(kind)) parts.push(part());
    return parts.length === 1 ? parts[0] : { kind, parts };
  }

  #one(): Expression {
    if (++this.#depth > WHERE_DEPTH_MAX) this.#fail(`more than ${WHERE_DEPTH_MAX} levels deep`);
    const expression = this.#nested() ?? this.#test();
    this.#depth--;
    return expression;
  }

  #nested(): Expression | undefined {
    if (this.#takes('not')) return { kind: 'not', of: this.#one() };
    const open = this.#token;
    if (!this.#takes('(')) return undefined;
    const inner = this.#any();
    if (!this.#takes(')')) {
      this.#fail(`a ) is wanted before ${this.#shown}, for the ( in column ${open.index + 1}`);
    }
    return inner;
  }

  #test(): Expression {
    const field = this.#token;
    if (field.kind !== 'word' || KEYWORDS.includes(field.text.toLowerCase())) {
      this.#fail(`a field is wanted before ${this.#shown}, such as proto, src, dport, state`);
    }
    this.#next++;
    const signAt = this.#token;
    if (SIGNS.includes(signAt.text) && signAt.kind === 'sign') {
      this.#next++;
      return { kind: 'test', field, sign: signAt.text as Sign, signAt, values: [this.#value()] };
    }
    const isNegated = isKeyword(signAt, 'not') && isKeyword(this.#tokens[this.#next + 1], 'in');
    if (isNegated) this.#next++;
    if (!this.#takes('in')) return { kind: 'flag', flag: field };
    return { kind: 'test', field, sign: isNegated ? '!=' : '=', signAt, values: this.#set() };
  }

  #set(): Token[] {
    if (!this.#takes('(')) return [this.#value()];
    const values = [this.#value()];
    while (this.#takes(',')) {
      if (values.length === WHERE_SET_MAX) this.#fail(`a set has at most ${WHERE_SET_MAX} values`);
      values.push(this.#value());
    }
    if (!this.#takes(')')) this.#fail(`a comma or ) is wanted before ${this.#shown}`);
    return values;
  }

  #value(): Token {
    const token = this.#token;
    if (token.kind !== 'word' && token.kind !== 'quoted')
      this.#fail(`a value is wanted before ${this.#shown}`);
    this.#next++;
    return token;
  }
}

/** Throws WhereError. */
export const parseExpression = (text: string): Expression => new Parser(text).whole();
