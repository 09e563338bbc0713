/** Flows in aligned columns, one line each, as wide as the terminal is and no wider. */
import type { Flow, Tuple } from '../flow/flow.js';
import { OWNER_HELD, OWNER_OWN, OWNER_REPLICA } from '../flow/owner-mark.js';
import type { About } from '../flow/where/fields.js';
import { grouped, size } from './terminal.js';

/** Rows that are looked at before the columns' widths are set: a table of millions is not read first. */
const SAMPLE_ROWS = 200;
const GAP = '  ';
const MORE = '…';

interface Column {
  readonly title: string;
  /** Lower ones stay longest where there is little room; 0: always. */
  readonly rank: number;
  readonly isRight?: boolean;
  readonly cell: (flow: Flow, about: About) => string;
}

/** An address with its port, or ICMP's fields, as people write them. */
export function end(address: string, port: number | undefined): string {
  if (port === undefined) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
const from = ({ source, sourcePort }: Tuple): string => end(source, sourcePort);
function to({ destination, destinationPort, icmpType, icmpCode, icmpId }: Tuple): string {
  if (icmpType === undefined) return end(destination, destinationPort);
  return `${destination} type ${icmpType}${icmpCode === 0 ? '' : `/${icmpCode}`} id ${icmpId}`;
}

/** What the flow is translated to; empty if it is not. */
export function translation({ original, reply, protocol }: Flow): string {
  if (reply === undefined || protocol.startsWith('icmp')) {
    const isPlain =
      reply === undefined || (reply.destination === original.source && reply.source === original.destination);
    return isPlain ? '' : `${reply.destination} > ${reply.source}`;
  }
  const source = end(reply.destination, reply.destinationPort);
  const destination = end(reply.source, reply.sourcePort);
  const parts: string[] = [];
  if (source !== from(original)) parts.push(`from ${source}`);
  if (destination !== to(original)) parts.push(`to ${destination}`);
  return parts.join(' ');
}

/** 30s, 14m, 12h, 4d. */
export function shortTime(seconds: number): string {
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)}h` : `${Math.floor(seconds / 86_400)}d`;
}

const FLAGS: readonly (readonly [Flow['status'][number], string])[] = [
  ['HW_OFFLOAD', 'hw-offload'],
  ['OFFLOAD', 'offload'],
  ['EXPECTED', 'expected'],
  ['FIXED_TIMEOUT', 'fixed'],
];

function flags({ status }: Flow): string {
  const words = FLAGS.filter(([name]) => status.includes(name)).map(([, word]) => word);
  if (!status.includes('SEEN_REPLY')) words.unshift('unreplied');
  else if (status.includes('ASSURED')) words.unshift('assured');
  return words.join(',');
}

function total(flow: Flow, what: 'bytes' | 'packets'): number | undefined {
  const { original, reply } = flow.counters ?? {};
  if (original === undefined && reply === undefined) return undefined;
  return Number((original?.[what] ?? 0n) + (reply?.[what] ?? 0n));
}

export function ownerText({ owner, node }: Pick<About, 'owner' | 'node'>): string {
  if (owner === OWNER_OWN) return 'own';
  if (owner === OWNER_HELD) return `held ${node}`;
  return owner === OWNER_REPLICA ? `replica ${node}` : '-';
}

const COLUMNS: readonly Column[] = [
  { title: 'PROTO', rank: 0, cell: ({ protocol }) => protocol },
  { title: 'FROM', rank: 0, cell: ({ original }) => from(original) },
  { title: 'TO', rank: 0, cell: ({ original }) => to(original) },
  {
    title: 'STATE',
    rank: 1,
    cell: ({ protoinfo }) => protoinfo?.state?.toLowerCase().replaceAll('_', '-') ?? '',
  },
  { title: 'OWNER', rank: 2, cell: (_, about) => ownerText(about) },
  { title: 'TRANSLATED', rank: 3, cell: translation },
  { title: 'STATUS', rank: 5, cell: flags },
  {
    title: 'LEFT',
    rank: 4,
    isRight: true,
    cell: ({ timeout }) => (timeout === undefined ? '' : shortTime(timeout)),
  },
  { title: 'BYTES', rank: 6, isRight: true, cell: (flow) => counterText(total(flow, 'bytes'), size) },
  { title: 'PACKETS', rank: 9, isRight: true, cell: (flow) => counterText(total(flow, 'packets'), grouped) },
  { title: 'MARK', rank: 7, isRight: true, cell: ({ mark }) => (mark === undefined ? '' : String(mark)) },
  { title: 'ZONE', rank: 7, isRight: true, cell: ({ zone }) => (zone === undefined ? '' : String(zone)) },
  { title: 'HELPER', rank: 8, cell: ({ helper }) => helper ?? '' },
];

const counterText = (value: number | undefined, text: (value: number) => string): string =>
  value === undefined ? '' : text(value);

/** Columns that nobody has anything in say nothing, and are left out. */
const isBlank = (cell: string): boolean => cell === '' || cell === '-';

export class FlowColumns {
  readonly #width: number | undefined;
  #sample: string[][] | undefined = [];
  /** Number and width of each column that is shown. */
  #shown: { readonly column: number; readonly width: number }[] = [];

  /** `width`: characters of a line, or undefined for no limit. */
  constructor(width: number | undefined) {
    this.#width = width;
  }

  /** The lines that are ready with this flow: none while it is looked what there is. */
  row(flow: Flow, about: About): string {
    const cells = COLUMNS.map(({ cell }) => cell(flow, about));
    if (this.#sample === undefined) return this.#line(cells);
    this.#sample.push(cells);
    return this.#sample.length < SAMPLE_ROWS ? '' : this.rest();
  }

  /** The lines that have waited, below their titles. */
  rest(): string {
    const rows = this.#sample;
    this.#sample = undefined;
    if (rows === undefined || rows.length === 0) return '';
    this.#choose(rows);
    return [COLUMNS.map(({ title }) => title), ...rows].map((cells) => this.#line(cells)).join('');
  }

  #choose(rows: readonly string[][]): void {
    const widths = COLUMNS.map(({ title }, i) => {
      const longest = rows.reduce((most, cells) => Math.max(most, cells[i].length), 0);
      return rows.every((cells) => isBlank(cells[i])) ? 0 : Math.max(title.length, longest);
    });
    let shown = COLUMNS.map((_, column) => ({ column, width: widths[column] })).filter(
      ({ width }) => width > 0,
    );
    const room = this.#width ?? Number.POSITIVE_INFINITY;
    const needed = () => shown.reduce((sum, { width }) => sum + width + GAP.length, -GAP.length);
    while (needed() > room) {
      const last = Math.max(...shown.map(({ column }) => COLUMNS[column].rank));
      if (last === 0) break;
      shown = shown.filter(({ column }) => COLUMNS[column].rank !== last);
    }
    this.#shown = shown;
  }

  #line(cells: readonly string[]): string {
    const text = this.#shown
      .map(({ column, width }) =>
        COLUMNS[column].isRight ? cells[column].padStart(width) : cells[column].padEnd(width),
      )
      .join(GAP)
      .trimEnd();
    const room = this.#width ?? text.length;
    return `${text.length > room ? text.slice(0, room - 1) + MORE : text}\n`;
  }
}
