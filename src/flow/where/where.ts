/** `--where`: an expression over flows, compiled once and then asked per record without allocating. */
import { parseAddressBlock } from '../address.js';
import {
  DCCP_STATE_NAMES,
  IPPROTO_DCCP,
  IPPROTO_SCTP,
  IPPROTO_TCP,
  SCTP_STATE_NAMES,
  STATUS_NAMES,
  TCP_STATE_NAMES,
} from '../conntrack-enums.js';
import { BlockFilter, type FilterOptions, parseMark, shownStatus } from '../filter.js';
import { OWNER_WORDS } from '../owner-mark.js';
import {
  addressBytes,
  DURABLE_STATUS,
  familyOf,
  findPart,
  type Memory,
  OFF_PROTOCOL,
  offProtoBits,
  offState,
  PART_LABELS,
  PROTO_HAS_STATE,
} from '../record.js';
import {
  type About,
  type AddressField,
  type Field,
  fieldNamed,
  fieldNames,
  type NumberField,
  readMark,
  statusWord,
  statusWords,
  type TextField,
} from './fields.js';
import { type Expression, parseExpression, type Sign } from './syntax.js';
import type { Token } from './tokens.js';
import { suggestion, WhereError } from './where-error.js';

type Test = (m: Memory, at: number, addr: number, about: About) => boolean;
type TestExpression = Extract<Expression, { kind: 'test' }>;

const STATES: readonly (readonly [number, readonly string[]])[] = [
  [IPPROTO_TCP, TCP_STATE_NAMES],
  [IPPROTO_SCTP, SCTP_STATE_NAMES],
  [IPPROTO_DCCP, DCCP_STATE_NAMES],
];
const LABEL_MAX = 127;
const COMPARISONS: Readonly<Record<Sign, (a: number, b: number) => boolean>> = {
  '=': (a, b) => a === b,
  '!=': (a, b) => a !== b,
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
  '>': (a, b) => a > b,
  '>=': (a, b) => a >= b,
};

/** What an expression is asked of, where that has not all fields of a flow. */
export interface WhereScope {
  /** With its article: "an expectation". */
  readonly what: string;
  /** Names of the fields that it has. */
  readonly fields: readonly string[];
}

/** An expression, ready to be asked. The constructor throws WhereError, which says where it is wrong. */
export class Where {
  readonly text: string;
  /**
   * What every flow that matches has, in the words of the kernel's own filter: it may leave the others out, and whatever
   * it shows must be looked at again.
   */
  readonly hints: Readonly<FilterOptions>;
  /** Every field that it names; words that stand alone count as status or owner. */
  readonly fields: readonly string[];
  /** Fields that only the kernel's own table shows. */
  readonly shownFields: readonly string[];
  /** It asks whose a flow is, which only a daemon knows. */
  readonly needsOwner: boolean;
  readonly #test: Test;

  constructor(text: string, scope?: WhereScope) {
    const compiler = new Compiler(text, scope);
    const expression = parseExpression(text);
    this.text = text;
    this.#test = compiler.test(expression);
    this.hints = hintsOf(expression);
    this.fields = [...compiler.fields];
    this.shownFields = [...compiler.shownFields];
    this.needsOwner = compiler.needsOwner;
  }

  /** True if the expression holds for the record at `at`. */
  matches(m: Memory, at: number, about: About): boolean {
    return this.#test(m, at, addressBytes(m, at), about);
  }
}

class Compiler {
  readonly fields = new Set<string>();
  readonly shownFields = new Set<string>();
  needsOwner = false;
  readonly #text: string;
  readonly #scope: WhereScope | undefined;

  constructor(text: string, scope: WhereScope | undefined) {
    this.#text = text;
    this.#scope = scope;
  }

  test(expression: Expression): Test {
    switch (expression.kind) {
      case 'and':
        return all(expression.parts.map((part) => this.test(part)));
      case 'or':
        return any(expression.parts.map((part) => this.test(part)));
      case 'not':
        return not(this.test(expression.of));
      case 'flag':
        return this.#flag(expression.flag);
      case 'test':
        return this.#compared(expression);
    }
  }

  #fail(token: Token, problem: string): never {
    throw new WhereError(this.#text, token.index, problem);
  }

  /** The names, with aliases, of the fields that there are. */
  #names(): string[] {
    const scope = this.#scope;
    return fieldNames().filter((name) => scope?.fields.includes(fieldNamed(name)?.name ?? name) ?? true);
  }

  /** Fails at a field that what is asked does not have. */
  #mustHave(name: string, token: Token): void {
    const scope = this.#scope;
    if (scope === undefined || scope.fields.includes(name)) return;
    this.#fail(token, `${scope.what} has no ${name}, but ${this.#names().join(', ')}`);
  }

  /** A word that stands alone: a status, or whose it is. */
  #flag(token: Token): Test {
    const owner = OWNER_WORDS.indexOf(token.text.toLowerCase() as (typeof OWNER_WORDS)[number]);
    this.fields.add(owner > 0 ? 'owner' : 'status');
    if (owner <= 0 && statusWord(token.text) !== undefined) this.#mustHave('status', token);
    if (owner > 0) {
      this.needsOwner = true;
      return (_m, _at, _addr, about) => about.owner === owner;
    }
    if (statusWord(token.text) !== undefined) return this.#status(token);
    if (fieldNamed(token.text) !== undefined) {
      this.#fail(token, `"${token.text}" is a field: a sign and a value are wanted behind it`);
    }
    const flags = this.#scope === undefined ? statusWords() : [];
    const known = [...flags, ...OWNER_WORDS.slice(1), ...this.#names()];
    this.#fail(token, `"${token.text}" is no field and no status${suggestion(token.text, known)}`);
  }

  #compared(expression: TestExpression): Test {
    const { field: token, sign } = expression;
    const field = fieldNamed(token.text);
    if (field === undefined) {
      const names = this.#names();
      const hint = suggestion(token.text, names) || `, but ${names.join(', ')}`;
      this.#fail(token, `"${token.text}" is no field${hint}`);
    }
    this.#mustHave(field.name, token);
    this.fields.add(field.name);
    if (field.isShown) this.shownFields.add(field.name);
    if (field.name === 'owner' || field.kind === 'node') this.needsOwner = true;
    const isEquality = sign === '=' || sign === '!=';
    if (!isEquality && !isOrdered(field)) {
      this.#fail(expression.signAt, `${field.name} has no order: write =, != or in (...)`);
    }
    const values = expression.values.map((value) => this.#value(field, isEquality ? '=' : sign, value));
    const test = any(values);
    // Not to have the value: also true of a flow that has no such field.
    return sign === '!=' ? not(test) : test;
  }

  #value(field: Field, sign: Sign, token: Token): Test {
    switch (field.kind) {
      case 'number':
        return this.#number(field, sign, token);
      case 'address':
        return this.#address(field, token);
      case 'mark':
        return this.#mark(sign, token);
      case 'state':
        return this.#state(token);
      case 'status':
        return this.#status(token);
      case 'label':
        return this.#label(token);
      case 'text':
        return textTest(field, token.text);
      case 'node':
        return (_m, _at, _addr, about) => about.node === token.text;
    }
  }

  #number(field: NumberField, sign: Sign, token: Token): Test {
    const wanted = field.parse(token.text);
    if (wanted === undefined) this.#fail(token, `${field.name}: "${token.text}" is not ${field.want}`);
    const holds = COMPARISONS[sign];
    const [read] = field.readers;
    if (field.readers.length === 1) return (m, at, addr, about) => holds(read(m, at, addr, about), wanted);
    return any(
      field.readers.map(
        (each): Test =>
          (m, at, addr, about) =>
            holds(each(m, at, addr, about), wanted),
      ),
    );
  }

  #address({ name, places }: AddressField, token: Token): Test {
    if (parseAddressBlock(token.text) === undefined) {
      const want = 'an address, or a block such as 10.1.0.0/16 or fd00::/8';
      this.#fail(token, `${name}: "${token.text}" is not ${want}`);
    }
    const block = new BlockFilter(name, token.text);
    return any(
      places.map(
        (place): Test =>
          (m, at, addr) =>
            block.matches(m, familyOf(m, at), at + place(addr)),
      ),
    );
  }

  #mark(sign: Sign, token: Token): Test {
    const holds = COMPARISONS[sign];
    let wanted: { value: number; mask: number };
    try {
      wanted = parseMark(token.text);
    } catch {
      this.#fail(token, `mark: "${token.text}" is not a number or value/mask, such as 5 or 0x10/0xf0`);
    }
    const { value, mask } = wanted;
    if (sign !== '=' && token.text.includes('/')) this.#fail(token, 'mark: a mask goes with = and != only');
    return (m, at, addr, about) => holds((readMark(m, at, addr, about) & mask) >>> 0, value);
  }

  #state(token: Token): Test {
    const name = token.text.toUpperCase().replaceAll('-', '_');
    // By protocol: the number of the state of this name, or none.
    const wanted = new Int16Array(256).fill(-1);
    let isKnown = false;
    for (const [protocol, names] of STATES) {
      wanted[protocol] = names.indexOf(name);
      isKnown ||= wanted[protocol] >= 0;
    }
    if (!isKnown) {
      const known = [...new Set(STATES.flatMap(([, names]) => names))].map((word) =>
        word.toLowerCase().replaceAll('_', '-'),
      );
      this.#fail(
        token,
        `state: "${token.text}" is none${suggestion(token.text.replaceAll('_', '-'), known) || `, but ${known.join(', ')}`}`,
      );
    }
    return (m, at, addr) =>
      (m.u8[at + offProtoBits(addr)] & PROTO_HAS_STATE) !== 0 &&
      m.u8[at + offState(addr)] === wanted[m.u8[at + OFF_PROTOCOL]];
  }

  #status(token: Token): Test {
    const bits = statusWord(token.text);
    if (bits === undefined) {
      const known = statusWords();
      const hint = suggestion(token.text.replaceAll('_', '-'), known) || `, but ${known.join(', ')}`;
      this.#fail(token, `status: "${token.text}" is none${hint}`);
    }
    const { set, clear, any: some } = bits;
    if (((set | clear | some) & ~DURABLE_STATUS) !== 0) {
      this.shownFields.add(`status ${token.text.toLowerCase()}`);
    }
    return (m, at) => {
      const status = shownStatus(m, at);
      return (status & set) === set && (status & clear) === 0 && (some === 0 || (status & some) !== 0);
    };
  }

  #label(token: Token): Test {
    const label = /^\d{1,3}$/.test(token.text) ? Number(token.text) : LABEL_MAX + 1;
    if (label > LABEL_MAX) this.#fail(token, `label: "${token.text}" is not a number from 0 to ${LABEL_MAX}`);
    return (m, at) => {
      const part = findPart(m, at, PART_LABELS);
      return part >= 0 && (m.u8[part + 4 + (label >>> 3)] & (1 << (label & 7))) !== 0;
    };
  }
}

function isOrdered(field: Field): boolean {
  return field.kind === 'mark' || (field.kind === 'number' && field.isOrdered);
}

function all(tests: readonly Test[]): Test {
  if (tests.length === 1) return tests[0];
  return (m, at, addr, about) => {
    for (const test of tests) if (!test(m, at, addr, about)) return false;
    return true;
  };
}

function any(tests: readonly Test[]): Test {
  if (tests.length === 1) return tests[0];
  return (m, at, addr, about) => {
    for (const test of tests) if (test(m, at, addr, about)) return true;
    return false;
  };
}

const not =
  (test: Test): Test =>
  (m, at, addr, about) =>
    !test(m, at, addr, about);

function textTest({ part }: TextField, text: string): Test {
  const wanted = new TextEncoder().encode(text);
  return (m, at) => {
    const p = findPart(m, at, part);
    if (p < 0 || m.u16[(p >>> 1) + 1] !== wanted.length) return false;
    for (let i = 0; i < wanted.length; i++) if (m.u8[p + 4 + i] !== wanted[i]) return false;
    return true;
  };
}

/** The options and what an expression beside them asks for, for a filter that may show more. */
export function withHints(options: FilterOptions, where: Where | undefined): FilterOptions {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  const status = [...(options.status ?? []), ...(where?.hints.status ?? [])];
  return { ...where?.hints, ...Object.fromEntries(given), ...(status.length === 0 ? {} : { status }) };
}

/** What is joined by "and" at the top and says that one thing has one value. */
function hintsOf(expression: Expression): FilterOptions {
  const hints: FilterOptions = {};
  const parts = expression.kind === 'and' ? expression.parts : [expression];
  const status: string[] = [];
  for (const part of parts) {
    if (part.kind === 'and') Object.assign(hints, { ...hintsOf(part), ...hints });
    const name = statusHint(part);
    if (name !== undefined) status.push(name);
    if (part.kind !== 'test' || part.sign !== '=' || part.values.length !== 1) continue;
    addHint(hints, fieldNamed(part.field.text), part.values[0].text);
  }
  if (status.length > 0) hints.status = [...new Set([...(hints.status ?? []), ...status])];
  return hints;
}

function addHint(hints: FilterOptions, field: Field | undefined, value: string): void {
  if (field?.kind === 'mark') hints.mark ??= value;
  if (field?.hint === undefined) return;
  if (field.kind === 'address') Object.assign(hints, { [field.hint]: value, ...hints });
  if (field.kind !== 'number') return;
  const number = field.parse(value);
  // "No zone" is asked of the kernel by no number.
  if (field.hint === 'zone' && number === 0) return;
  const isText = field.hint === 'protocol' || field.hint === 'family';
  Object.assign(hints, { [field.hint]: isText ? wordOf(field.hint, value, number) : number, ...hints });
}

const wordOf = (hint: string, value: string, number: number | undefined): string =>
  hint === 'family' ? value.toLowerCase() : String(number);

/** The name of the one status bit that this part asks for, as the kernel's filter names it. */
function statusHint(part: Expression): string | undefined {
  let token: Token | undefined;
  if (part.kind === 'flag') token = part.flag;
  else if (part.kind === 'test' && part.sign === '=' && part.values.length === 1) {
    if (fieldNamed(part.field.text)?.kind === 'status') token = part.values[0];
  }
  const bits = token === undefined ? undefined : statusWord(token.text);
  if (bits === undefined || bits.any !== 0) return undefined;
  return bits.set === 0 ? 'UNREPLIED' : STATUS_NAMES[31 - Math.clz32(bits.set)];
}
