/** Expectations of a table, and those of them that are meant. */
import { ControlError } from '../control/backend.js';
import { parseAddress } from '../flow/address.js';
import { validateExpectation } from '../flow/expectation.js';
import { type Expectation, expectationFromRecord, formatExpectation } from '../flow/expectation-text.js';
import { recordFromFlow } from '../flow/flow.js';
import { protocolNumber } from '../flow/flow-to-record.js';
import { nodeOfMark, OWNER_HELD, OWNER_NONE, OWNER_WORDS, ownerOfMark } from '../flow/owner-mark.js';
import { allocateMemory, MAX_RECORD_BYTES } from '../flow/record.js';
import { usesPorts } from '../flow/tuple.js';
import type { Where, WhereScope } from '../flow/where/where.js';
import type { CommandContext } from './context.js';
import { end, ownerText, shortTime } from './flow-columns.js';
import type { TableOptions } from './flow-query.js';
import { endpoint, protocol, refuse } from './flow-words.js';
import { columns } from './terminal.js';

export interface ExpectationRow {
  readonly expectation: Expectation;
  /** OWNER_* of its master. */
  readonly owner: number;
  readonly node: string;
}

/** Fields of an expression that an expectation has: those of its tuple, and few more. */
export const EXPECTATION_SCOPE: WhereScope = {
  what: 'an expectation',
  fields: [
    ...['proto', 'family', 'orig.src', 'orig.dst', 'orig.sport', 'orig.dport'],
    ...['zone', 'helper', 'timeout', 'owner', 'node'],
  ],
};

/** What is named by three words: `tcp any 10.2.0.254:4001`. */
export interface NamedExpectation {
  readonly protocol: string;
  /** Address or block; undefined: anybody. */
  readonly source?: string;
  readonly sourcePort?: number;
  readonly destination: string;
  readonly destinationPort?: number;
}

export function namedExpectation(words: readonly string[]): NamedExpectation {
  if (words.length !== 3) {
    const problem = 'an expectation is named by three words, such as tcp any 10.2.0.254:4001';
    throw new ControlError('invalid', `${problem}, and here are ${words.length}`);
  }
  const name = protocol('protocol', words[0]);
  const to = endpoint('destination', words[2]);
  if (usesPorts(protocolNumber('protocol', name)) !== (to.port !== undefined)) {
    refuse(
      'destination',
      words[2],
      to.port === undefined ? `address:port, and ${name} has ports` : 'an address alone',
    );
  }
  const named = {
    protocol: name,
    destination: to.address,
    ...(to.port === undefined ? {} : { destinationPort: to.port }),
  };
  if (words[1] === 'any') return named;
  if (words[1].includes('/')) return { ...named, source: words[1] };
  const from = endpoint('source', words[1]);
  return { ...named, source: from.address, ...(from.port === undefined ? {} : { sourcePort: from.port }) };
}

/** True if the expectation is the named one: as far as it was named. */
export function isNamed({ protocol: its, tuple }: Expectation, named: NamedExpectation): boolean {
  const same = (a: string, b: string) => String(parseAddress(a)) === String(parseAddress(b));
  return (
    its === named.protocol &&
    same(tuple.destination, named.destination) &&
    tuple.destinationPort === named.destinationPort &&
    (named.source === undefined || same(tuple.source, named.source.split('/')[0])) &&
    (named.sourcePort === undefined || tuple.sourcePort === named.sourcePort)
  );
}

/** Those of a table that the expression means. Without a daemon the kernel's own are read directly. */
export async function expectationRows(
  context: CommandContext,
  { table, node }: TableOptions,
  where: Where | undefined,
): Promise<ExpectationRow[]> {
  if (node !== undefined && table !== 'external') {
    throw new ControlError('invalid', '--node names a replica: add --table external');
  }
  const rows: ExpectationRow[] = [];
  const needsDaemon = table !== 'kernel' || where?.needsOwner === true;
  const isServed = await context.withDaemonIfAny(needsDaemon, (client) =>
    client.expectations({ table, node: node ?? '' }, ({ records, owners, nodes }) => {
      const memory = allocateMemory(records.length);
      memory.u8.set(records);
      for (let at = 0, i = 0; at < records.length; at += memory.u16[at >>> 1], i++) {
        if (validateExpectation(memory, at, memory.u16[at >>> 1]) !== undefined) {
          throw new ControlError(
            'failed',
            'the daemon speaks another layout: use the same version of conntwin',
          );
        }
        const mark = owners[i] ?? OWNER_NONE;
        const expectation = expectationFromRecord(memory, at);
        rows.push({ expectation, owner: ownerOfMark(mark), node: nodeOfMark(mark, nodes) });
      }
    }),
  );
  if (!isServed) {
    const { Conntrack } = await import('../library/conntrack.js');
    const ct = await Conntrack.open();
    try {
      for await (const expectation of ct.expectations.list())
        rows.push({ expectation, owner: OWNER_NONE, node: '' });
    } finally {
      ct.close();
    }
  }
  return where === undefined ? rows : rows.filter((row) => holds(where, row));
}

/** An expression is asked of what the flow would be that is expected. */
export function holds(where: Where, { expectation, owner, node }: ExpectationRow): boolean {
  const { family, protocol: name, tuple, zone, helper, timeout } = expectation;
  const m = allocateMemory(MAX_RECORD_BYTES);
  const rest = {
    ...(zone === undefined ? {} : { zone }),
    ...(helper === undefined ? {} : { helper }),
    ...(timeout === undefined ? {} : { timeout }),
  };
  recordFromFlow({ family, protocol: name, original: tuple, status: [], ...rest }, m, 0);
  return where.matches(m, 0, { owner, node, now: 0 });
}

export function expectationJson({ expectation, owner, node }: ExpectationRow): string {
  const whose =
    owner === OWNER_NONE ? {} : { owner: OWNER_WORDS[owner], ...(owner < OWNER_HELD ? {} : { node }) };
  return JSON.stringify({ ...expectation, ...whose });
}

/** Lines in columns, cut at the width of the terminal. */
export function expectationTable(rows: readonly ExpectationRow[], width: number | undefined): string {
  if (rows.length === 0) return '';
  const isAny = (address: string) => parseAddress(address)?.every((byte) => byte === 0) === true;
  const cells = rows.map((row) => {
    const { protocol: name, tuple, mask, master, helper, timeout } = row.expectation;
    const from = isAny(mask.source)
      ? 'any'
      : end(tuple.source, mask.sourcePort === 0 ? undefined : tuple.sourcePort);
    return [
      name,
      from,
      end(tuple.destination, tuple.destinationPort),
      timeout === undefined ? '' : shortTime(timeout),
      helper ?? '',
      ownerText(row),
      `${master.protocol} ${end(master.source, master.sourcePort)} > ${end(master.destination, master.destinationPort)}`,
    ];
  });
  const lines = columns([['PROTO', 'FROM', 'TO', 'LEFT', 'HELPER', 'OWNER', 'EXPECTED BY'], ...cells]);
  const room = width ?? Number.POSITIVE_INFINITY;
  return lines.map((line) => `${line.length > room ? `${line.slice(0, room - 1)}…` : line}\n`).join('');
}

export const expectationLine = ({ expectation }: ExpectationRow): string => formatExpectation(expectation);
