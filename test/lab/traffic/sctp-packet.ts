/**
 * As much of SCTP as a firewall looks at (RFC 9260): one chunk a packet.
 *
 *     source port 2 | destination port 2 | verification tag 4 | CRC32c 4 | type 1 | flags 1 | length 2 | body
 */

export const CHUNK_DATA = 0;
export const CHUNK_INIT = 1;
export const CHUNK_INIT_ACK = 2;
export const CHUNK_COOKIE_ECHO = 10;
export const CHUNK_COOKIE_ACK = 11;

export interface SctpPacket {
  readonly sourcePort: number;
  readonly targetPort: number;
  /** What the receiver of the packet has chosen. */
  readonly tag: number;
  readonly chunk: number;
  readonly body: Buffer;
}

const CRC32C_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

function crc32c(data: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of data) crc = CRC32C_TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

export function encodeSctp(packet: SctpPacket): Buffer {
  const length = 4 + packet.body.length;
  const out = Buffer.alloc(12 + ((length + 3) & ~3));
  out.writeUInt16BE(packet.sourcePort, 0);
  out.writeUInt16BE(packet.targetPort, 2);
  out.writeUInt32BE(packet.tag, 4);
  out[12] = packet.chunk;
  out.writeUInt16BE(length, 14);
  packet.body.copy(out, 16);
  out.writeUInt32LE(crc32c(out), 8);
  return out;
}

/** The packet, or undefined if its checksum is wrong or it is too short. */
export function decodeSctp(data: Buffer): SctpPacket | undefined {
  if (data.length < 16) return undefined;
  const copy = Buffer.from(data);
  copy.writeUInt32LE(0, 8);
  if (crc32c(copy) !== data.readUInt32LE(8)) return undefined;
  return {
    sourcePort: data.readUInt16BE(0),
    targetPort: data.readUInt16BE(2),
    tag: data.readUInt32BE(4),
    chunk: data[12],
    body: Buffer.from(data.subarray(16, 12 + data.readUInt16BE(14))),
  };
}

/** Body of INIT and INIT ACK: the tag that the other end shall use, and the least of the rest. */
export function initBody(tag: number): Buffer {
  const body = Buffer.alloc(16);
  body.writeUInt32BE(tag, 0);
  body.writeUInt32BE(65_536, 4);
  body.writeUInt16BE(1, 8);
  body.writeUInt16BE(1, 10);
  return body;
}
