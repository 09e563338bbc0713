/** How FTP names the end of a data connection: PORT and PASV for IPv4, EPRT and EPSV (RFC 2428) for IPv6. */
import { formatAddress, parseAddress } from '../../../src/flow/address.js';
import { FTP_INSIDE4, INSIDE6, type Kind, SHARED4, SHARED6, usesIpv6 } from './kinds.js';

/** Where a data connection goes to. */
export interface Door {
  readonly host: string;
  readonly port: number;
}

const fieldsOf = (port: number): string => [...FTP_INSIDE4.split('.'), port >> 8, port & 255].join(',');

/** What the client inside says when it listens. */
export const announcementOf = (kind: Kind, port: number): string =>
  usesIpv6(kind) ? `EPRT |2|${INSIDE6}|${port}|` : `PORT ${fieldsOf(port)}`;

/** The answer of a server that listens. EPSV names no address: it is the one that the client has called. */
export const openingOf = (kind: Kind, port: number): string =>
  usesIpv6(kind) ? `229 Entering (|||${port}|)` : `227 Entering (${fieldsOf(port)})`;

/** The address that the server outside is to see in the announcement. */
export function seenOf(kind: Kind): string {
  if (!usesIpv6(kind)) return SHARED4;
  return kind.isRouted ? INSIDE6 : SHARED6;
}

/** The door that a line names, in either way of naming it. */
export function doorOf(kind: Kind, line: string): Door | undefined {
  if (usesIpv6(kind)) {
    const [, address, port] = /\|2?\|([\da-f:]*)\|(\d+)\|/.exec(line) ?? [];
    const bytes = parseAddress(address ?? '');
    // The kernel writes all zeros out.
    const host = bytes === undefined ? kind.target : formatAddress(bytes, 0, bytes.length);
    return port === undefined ? undefined : { host, port: Number(port) };
  }
  const fields = /(\d+),(\d+),(\d+),(\d+),(\d+),(\d+)/.exec(line)?.slice(1).map(Number);
  if (fields === undefined) return undefined;
  return { host: fields.slice(0, 4).join('.'), port: fields[4] * 256 + fields[5] };
}
