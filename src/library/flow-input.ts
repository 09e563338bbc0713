/** What a program hands in about flows, and its packed form. */
import { IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE } from '../flow/conntrack-enums.js';
import { type Flow, recordFromFlow } from '../flow/flow.js';
import { protocolNumber } from '../flow/flow-to-record.js';
import type { Memory } from '../flow/record.js';
import * as E from '../kernel/enums.js';

/** Enough of a flow to find it. A whole Flow is one: with an `id`, only that very life of the tuple is meant. */
export type FlowKey = Pick<Flow, 'protocol' | 'original'> &
  Partial<Pick<Flow, 'family' | 'zone' | 'zoneDirection' | 'id'>>;

/** A flow to create: protocol and original tuple, and whatever else it shall have. */
export type FlowInput = Pick<Flow, 'protocol' | 'original'> & Partial<Flow>;

/** What can be changed of a flow that is there. */
export type FlowChanges = Partial<
  Pick<Flow, 'timeout' | 'mark' | 'labels' | 'status' | 'protoinfo' | 'seqadj'>
>;

/** The attributes that say a change. */
const ATTRIBUTES: Readonly<Record<keyof FlowChanges, number>> = {
  timeout: 1 << E.CTA_TIMEOUT,
  mark: 1 << E.CTA_MARK,
  labels: 1 << E.CTA_LABELS,
  status: 1 << E.CTA_STATUS,
  protoinfo: 1 << E.CTA_PROTOINFO,
  seqadj: (1 << E.CTA_SEQ_ADJ_ORIG) | (1 << E.CTA_SEQ_ADJ_REPLY),
};

/** The attributes of these changes; throws RangeError for a field that no update can change. */
export function changedAttributes(changes: FlowChanges): number {
  let only = 0;
  for (const [field, value] of Object.entries(changes)) {
    if (value === undefined) continue;
    if (!Object.hasOwn(ATTRIBUTES, field)) {
      const possible = Object.keys(ATTRIBUTES).join(', ');
      throw new RangeError(
        `changes.${field}: a flow's ${field} cannot be changed, only ${possible}: delete it and create it anew`,
      );
    }
    only |= ATTRIBUTES[field as keyof FlowChanges];
  }
  if (only === 0) throw new RangeError('changes: nothing to change');
  return only;
}

/** Writes the record of what a program handed in; throws RangeError with the path of a value that is none. */
export function writeInput(input: FlowInput | FlowKey, m: Memory): void {
  if (typeof input?.original?.source !== 'string') {
    throw new RangeError('flow.original.source: missing: a flow is named by protocol and original tuple');
  }
  needPorts(input);
  // recordFromFlow takes the family of the addresses, and no status for none.
  recordFromFlow(input as Flow, m, 0);
}

/** Protocols all of whose flows have ports: one that was forgotten would name another flow, of port 0. */
const WITH_PORTS = [IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE, IPPROTO_SCTP];

function needPorts({ protocol, original }: FlowInput | FlowKey): void {
  if (!WITH_PORTS.includes(protocolNumber('flow.protocol', protocol))) return;
  for (const end of ['sourcePort', 'destinationPort'] as const) {
    if (original[end] === undefined)
      throw new RangeError(`flow.original.${end}: missing, and ${protocol} has ports`);
  }
}

/** Only what names the flow. */
export function keyOf({ family, protocol, zone, zoneDirection, original, id }: FlowKey): FlowInput {
  return {
    protocol,
    original,
    ...(family === undefined ? {} : { family }),
    ...(zone === undefined ? {} : { zone }),
    ...(zoneDirection === undefined ? {} : { zoneDirection }),
    ...(id === undefined ? {} : { id }),
  };
}

/** One line that names the flow in an error. */
export function nameOf({ protocol, original, zone }: FlowKey): string {
  const side = (address: string, port: number | undefined) =>
    port === undefined ? address : address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  const from = side(original.source, original.sourcePort);
  const to = side(original.destination, original.destinationPort);
  return `${protocol} ${from} -> ${to}${zone === undefined ? '' : ` in zone ${zone}`}`;
}
