/** All that is known of one flow, a line for each thing. */
import type { Flow } from '../flow/flow.js';
import type { About } from '../flow/where/fields.js';
import { end, ownerText, shortTime, translation } from './flow-columns.js';
import { columns, grouped, size } from './terminal.js';

function counters({ counters }: Flow, direction: 'original' | 'reply'): string {
  const one = counters?.[direction];
  return one === undefined ? '' : `${grouped(Number(one.packets))} packets, ${size(Number(one.bytes))}`;
}

function ago(ns: bigint | undefined, now: number): string {
  if (ns === undefined) return '';
  const seconds = Math.max(0, Math.floor(now - Number(ns / 1_000_000_000n)));
  return `${new Date(Number(ns / 1_000_000n)).toISOString()} (${shortTime(seconds)} ago)`;
}

/** The lines, with an empty one behind them. */
export function cardText(flow: Flow, about: About): string {
  const { original, reply, protoinfo, master } = flow;
  const side = (tuple: Flow['original'] | undefined) =>
    tuple === undefined
      ? ''
      : `${end(tuple.source, tuple.sourcePort)} > ${end(tuple.destination, tuple.destinationPort)}` +
        (tuple.icmpType === undefined
          ? ''
          : ` type ${tuple.icmpType} code ${tuple.icmpCode} id ${tuple.icmpId}`);
  const rows: [string, string][] = [
    ['protocol', `${flow.protocol} (${flow.family})`],
    ['original', side(original)],
    ['reply', side(reply)],
    ['translated', translation(flow)],
    ['state', protoinfo?.state?.toLowerCase().replaceAll('_', '-') ?? ''],
    ['status', flow.status.map((name) => name.toLowerCase().replaceAll('_', '-')).join(', ')],
    ['owner', ownerText(about)],
    ['timeout', flow.timeout === undefined ? '' : `${grouped(flow.timeout)} s`],
    ['began', ago(flow.timestamp?.start, about.now)],
    ['sent', counters(flow, 'original')],
    ['answered', counters(flow, 'reply')],
    ['mark', flow.mark === undefined ? '' : `${flow.mark} (0x${flow.mark.toString(16)})`],
    [
      'zone',
      flow.zone === undefined ? '' : `${flow.zone}${flow.zoneDirection ? ` (${flow.zoneDirection})` : ''}`,
    ],
    ['labels', flow.labels?.join(', ') ?? ''],
    ['helper', flow.helper ?? ''],
    ['expected by', master === undefined ? '' : `${master.protocol} ${side(master)}`],
    ['secctx', flow.secctx ?? ''],
    ['id', flow.id === undefined ? '' : String(flow.id)],
  ];
  return `${columns(rows.filter(([, value]) => value !== '')).join('\n')}\n\n`;
}
