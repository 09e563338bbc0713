/** IPv4 and IPv6 addresses: text to bytes, strictly, and back in the form that `conntrack` prints. */

const HEX_GROUP = /^[0-9a-fA-F]{1,4}$/;
const DECIMAL_BYTE = /^(0|[1-9][0-9]{0,2})$/;

/** The four bytes of a dotted quad (no leading zeros, no short forms), or undefined. */
function parseIpv4(text: string): Uint8Array | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  const bytes = new Uint8Array(4);
  for (let i = 0; i < 4; i++) {
    if (!DECIMAL_BYTE.test(parts[i])) return undefined;
    const value = Number(parts[i]);
    if (value > 255) return undefined;
    bytes[i] = value;
  }
  return bytes;
}

/** The 16-bit groups of one side of "::"; a dotted quad may be the last. Undefined if one is malformed. */
function parseGroups(text: string, isLast: boolean): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (let i = 0; i < parts.length; i++) {
    if (isLast && i === parts.length - 1 && parts[i].includes('.')) {
      const quad = parseIpv4(parts[i]);
      if (quad === undefined) return undefined;
      groups.push((quad[0] << 8) | quad[1], (quad[2] << 8) | quad[3]);
    } else {
      if (!HEX_GROUP.test(parts[i])) return undefined;
      groups.push(Number.parseInt(parts[i], 16));
    }
  }
  return groups;
}

function parseIpv6(text: string): Uint8Array | undefined {
  const gap = text.indexOf('::');
  let groups: number[] | undefined;
  if (gap < 0) {
    groups = parseGroups(text, true);
  } else {
    const head = parseGroups(text.slice(0, gap), false);
    const tail = parseGroups(text.slice(gap + 2), true);
    if (head === undefined || tail === undefined || head.length + tail.length > 7) return undefined;
    groups = [...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail];
  }
  if (groups?.length !== 8) return undefined;
  const bytes = new Uint8Array(16);
  groups.forEach((group, i) => {
    bytes[2 * i] = group >>> 8;
    bytes[2 * i + 1] = group & 0xff;
  });
  return bytes;
}

/** The 4 or 16 bytes of an address in network order; undefined if the text is not exactly one address. */
export function parseAddress(text: string): Uint8Array | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

/** Start and length of the longest run of two or more zero groups, the first of equals; length 0 if none. */
function longestZeroRun(groups: number[]): { start: number; length: number } {
  let best = { start: -1, length: 0 };
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > best.length) best = { start: i, length: end - i };
    if (end > i) i = end;
  }
  return best.length >= 2 ? best : { start: -1, length: 0 };
}

function formatIpv6(u8: Uint8Array, at: number): string {
  const groups: number[] = [];
  for (let i = 0; i < 8; i++) groups.push((u8[at + 2 * i] << 8) | u8[at + 2 * i + 1]);
  const { start, length } = longestZeroRun(groups);
  const hex = groups.map((group) => group.toString(16));
  // As glibc's inet_ntop: IPv4-compatible and IPv4-mapped addresses end in a dotted quad.
  if (start === 0 && (length === 6 || (length === 5 && groups[5] === 0xffff))) {
    const quad = u8.subarray(at + 12, at + 16).join('.');
    return length === 6 ? `::${quad}` : `::ffff:${quad}`;
  }
  if (length === 0) return hex.join(':');
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + length).join(':')}`;
}

/** Text of the 4 or 16 address bytes at `at`, as inet_ntop writes it. */
export function formatAddress(u8: Uint8Array, at: number, bytes: number): string {
  if (bytes === 4) return `${u8[at]}.${u8[at + 1]}.${u8[at + 2]}.${u8[at + 3]}`;
  return formatIpv6(u8, at);
}

/** An address block: the network's bytes and the prefix length in bits. */
export interface AddressBlock {
  readonly bytes: Uint8Array;
  readonly prefix: number;
}

/** The block of "address" or "address/prefix"; undefined if malformed. Bits past the prefix are cleared. */
export function parseAddressBlock(text: string): AddressBlock | undefined {
  const slash = text.indexOf('/');
  const bytes = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (bytes === undefined) return undefined;
  const bits = bytes.length * 8;
  if (slash < 0) return { bytes, prefix: bits };
  const digits = text.slice(slash + 1);
  if (!DECIMAL_BYTE.test(digits) || Number(digits) > bits) return undefined;
  const prefix = Number(digits);
  for (let i = 0; i < bytes.length; i++) {
    const keep = Math.min(8, Math.max(0, prefix - 8 * i));
    bytes[i] &= 0xff00 >>> keep;
  }
  return { bytes, prefix };
}
