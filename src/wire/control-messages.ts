/**
 * Control messages: one msgpack array in the payload of a control frame. Cold, so they go through the
 * library, with its limits set; every element is checked, and further elements (of a later version) are
 * ignored.
 *
 *     HELLO     [1, nonce, versions]
 *     WELCOME   [2, to, echo of the nonce, own nonce, sequence, boot id, mirrorReady, role, term, versions,
 *                receive buffer, mode]
 *     HEARTBEAT [4, versions, sequence, role, term, mirrorReady,
 *                [[incarnation, applied, verdict, at, [silent per link]]*], receive buffer, mode]
 *     ACK       [5, [[incarnation, applied]*]]
 *     REQUEST   [6, to, kind, bin]
 *     NACK      [7, to, [[first, last]*]]
 *     GONE      [8, lowest]
 *     SETTINGS  [9, [[name, text]*]]
 *
 * A WELCOME proves its sender to the one it is for, who answers with his own WELCOME; a nonce of zeros in it
 * asks for no further answer, so two messages each way end it.
 *
 * versions = [lowest, highest frame version, lowest, highest record version]. HELLO, WELCOME and HEARTBEAT
 * are frozen: every later version reads and writes these elements at these places.
 */
import { Decoder, Encoder } from '@msgpack/msgpack';
import { LINKS_MAX, NAME_MAX_BYTES, PEERS_MAX } from '../limits.js';
import { FRAME_VERSION, INCARNATION_BYTES } from './frame.js';
import {
  CONTROL_ACK,
  CONTROL_GONE,
  CONTROL_HEARTBEAT,
  CONTROL_HELLO,
  CONTROL_NACK,
  CONTROL_REQUEST,
  CONTROL_SETTINGS,
  CONTROL_WELCOME,
  SEGMENTS,
  SUMS_WIDTH,
} from './ops.js';

/** Bytes of a nonce. */
export const NONCE_BYTES = 16;
/** Version of the record's layout on the wire. */
export const RECORD_VERSION = 1;
/** What a heartbeat says of a link on which somebody was not heard for longer, or never. Milliseconds. */
export const SILENT_NEVER_MS = 65_535;

/** What a node can read: the lowest and the highest version of frames, and of records. */
export type Versions = readonly [frameLow: number, frameHigh: number, recordLow: number, recordHigh: number];
/** What this release reads. */
export const OWN_VERSIONS: Versions = [FRAME_VERSION, FRAME_VERSION, RECORD_VERSION, RECORD_VERSION];

/**
 * REQUEST: sums of the 64 groups (bitmap empty), of the segments of some groups (64 bits), or whole scopes.
 */
export const REQUEST_GROUPS = 1;
export const REQUEST_SEGMENTS = 2;
export const REQUEST_SCOPES = 3;
/** Sums of the 64 fine scopes of some segments (4,096 bits). */
export const REQUEST_FINE_SUMS = 4;
/** Fine scopes: a bin of 32-bit prefixes of FINE_BITS bits, at most FINE_LISTED_MAX. */
export const REQUEST_FINE_SCOPES = 5;
/** The run of all expectations (bin empty). */
export const REQUEST_EXPECTATIONS = 6;
/** Fine scopes asked for in one message. */
export const FINE_LISTED_MAX = 128;
/** Ranges of one NACK. */
export const NACK_RANGES_MAX = 64;
/** Settings of one node, and characters of each name and text. */
export const SETTINGS_MAX = 48;

export interface Hello {
  type: typeof CONTROL_HELLO;
  nonce: Uint8Array;
  versions: Versions;
}
export interface Welcome {
  type: typeof CONTROL_WELCOME;
  to: Uint8Array;
  echo: Uint8Array;
  nonce: Uint8Array;
  sequence: number;
  bootId: string;
  isMirrorReady: boolean;
  role: number;
  term: number;
  versions: Versions;
  /** The smallest receive buffer of its links, bytes as the kernel counts them. */
  receiveBuffer: number;
  /** Number of its replication mode (ports.ts). */
  mode: number;
}
/** What a heartbeat says about one peer: that its sender believes it, and what it made of its stream. */
export interface Opinion {
  incarnation: Uint8Array;
  applied: number;
  verdict: number;
  /** The sequence at which the verdict was found. */
  verdictAt: number;
  /** Since it was heard on each of the sender's links, in their order. Milliseconds. */
  silentMs: number[];
}
export interface Heartbeat {
  type: typeof CONTROL_HEARTBEAT;
  versions: Versions;
  sequence: number;
  role: number;
  term: number;
  isMirrorReady: boolean;
  opinions: Opinion[];
  receiveBuffer: number;
  mode: number;
}
export interface Ack {
  type: typeof CONTROL_ACK;
  acks: { incarnation: Uint8Array; applied: number }[];
}
export interface Request {
  type: typeof CONTROL_REQUEST;
  to: Uint8Array;
  kind: number;
  bitmap: Uint8Array;
}
/** "I miss these frames of your stream": inclusive ranges of sequences, ascending. */
export interface Nack {
  type: typeof CONTROL_NACK;
  to: Uint8Array;
  ranges: [first: number, last: number][];
}
/** "Frames below this are no longer in my ring." */
export interface Gone {
  type: typeof CONTROL_GONE;
  lowest: number;
}
/** Settings of the sender's kernel that should agree between nodes. */
export interface Settings {
  type: typeof CONTROL_SETTINGS;
  settings: [name: string, text: string][];
}
export type ControlMessage = Hello | Welcome | Heartbeat | Ack | Request | Nack | Gone | Settings;

const BOOT_ID_MAX_CHARS = 64;
/** Peers listed in one message: every known name, and as many that are about to replace one. */
const LISTED_MAX = 2 * PEERS_MAX;

/** Encodes and decodes control messages; one per node, so that its buffers are reused. */
export class ControlCodec {
  readonly #encoder = new Encoder({ initialBufferSize: 2048 });
  readonly #decoder = new Decoder({
    maxStrLength: NAME_MAX_BYTES,
    maxBinLength: SEGMENTS / 8,
    maxArrayLength: 64,
    maxMapLength: 0,
    maxExtLength: 0,
  });

  /** The version that the last message refused with 'control.version' asks for. */
  refusedVersion = 0;

  /** The payload; valid until the next call. */
  encode(message: ControlMessage): Uint8Array {
    return this.#encoder.encodeSharedRef(toArray(message));
  }

  /** The message, or why it is refused (a counter's name). Never throws. */
  decode(payload: Uint8Array): ControlMessage | string {
    let value: unknown;
    try {
      value = this.#decoder.decode(payload);
    } catch {
      return 'control.malformed';
    }
    if (!Array.isArray(value) || value.length < 2) return 'control.malformed';
    const read = READERS[value[0] as number];
    if (typeof value[0] !== 'number' || read === undefined) return 'control.unknown';
    const message = read(value);
    if (message === undefined) return 'control.invalid';
    if (!('versions' in message)) return message;
    this.refusedVersion = unreadableVersion(message.versions);
    return this.refusedVersion === 0 ? message : 'control.version';
  }
}

function toArray(m: ControlMessage): unknown[] {
  switch (m.type) {
    case CONTROL_HELLO:
      return [m.type, m.nonce, m.versions];
    case CONTROL_WELCOME:
      return [
        m.type,
        m.to,
        m.echo,
        m.nonce,
        m.sequence,
        m.bootId,
        m.isMirrorReady,
        m.role,
        m.term,
        m.versions,
        m.receiveBuffer,
        m.mode,
      ];
    case CONTROL_HEARTBEAT:
      return [
        m.type,
        m.versions,
        m.sequence,
        m.role,
        m.term,
        m.isMirrorReady,
        m.opinions.map((o) => [o.incarnation, o.applied, o.verdict, o.verdictAt, o.silentMs]),
        m.receiveBuffer,
        m.mode,
      ];
    case CONTROL_ACK:
      return [m.type, m.acks.map((a) => [a.incarnation, a.applied])];
    case CONTROL_REQUEST:
      return [m.type, m.to, m.kind, m.bitmap];
    case CONTROL_NACK:
      return [m.type, m.to, m.ranges];
    case CONTROL_GONE:
      return [m.type, m.lowest];
    case CONTROL_SETTINGS:
      return [m.type, m.settings];
  }
}

const isCount = (v: unknown): v is number => Number.isSafeInteger(v) && (v as number) >= 0;
const isByte = (v: unknown): v is number => isCount(v) && v <= 255;
const isBin = (v: unknown, bytes: number): v is Uint8Array => v instanceof Uint8Array && v.length === bytes;
const isId = (v: unknown): v is Uint8Array => isBin(v, INCARNATION_BYTES);
/** The ranges, or undefined if these are none; further elements are a later version's. */
function toVersions(v: unknown): Versions | undefined {
  if (!Array.isArray(v) || v.length < 4 || !v.every(isCount)) return undefined;
  const [frameLow, frameHigh, recordLow, recordHigh] = v;
  if (frameLow > frameHigh || recordLow > recordHigh) return undefined;
  return [frameLow, frameHigh, recordLow, recordHigh];
}

/** The version that a node with these ranges would have to be spoken to in, if this one has none in common; else 0. */
function unreadableVersion([frameLow, frameHigh, recordLow, recordHigh]: Versions): number {
  const [ownFrameLow, ownFrameHigh, ownRecordLow, ownRecordHigh] = OWN_VERSIONS;
  if (frameLow > ownFrameHigh || frameHigh < ownFrameLow) return frameHigh;
  return recordLow > ownRecordHigh || recordHigh < ownRecordLow ? recordHigh : 0;
}

// Bins are views into the datagram, which is reused: what is kept must be copied.
const READERS: Record<number, ((v: unknown[]) => ControlMessage | undefined) | undefined> = {
  [CONTROL_HELLO]: ([, nonce, said]) => {
    const versions = toVersions(said);
    if (!isBin(nonce, NONCE_BYTES) || versions === undefined) return undefined;
    return { type: CONTROL_HELLO, nonce: nonce.slice(), versions };
  },
  [CONTROL_WELCOME]: (elements) => {
    const [, to, echo, nonce, sequence, bootId, isMirrorReady, role, term, said] = elements;
    const versions = toVersions(said);
    const [receiveBuffer, mode] = elements.slice(10);
    if (!isId(to) || !isBin(echo, NONCE_BYTES) || !isBin(nonce, NONCE_BYTES) || versions === undefined) {
      return undefined;
    }
    if (!isCount(sequence) || typeof bootId !== 'string' || bootId.length > BOOT_ID_MAX_CHARS)
      return undefined;
    if (typeof isMirrorReady !== 'boolean' || !isByte(role) || !isCount(term)) return undefined;
    if (!isCount(receiveBuffer) || !isByte(mode)) return undefined;
    return {
      type: CONTROL_WELCOME,
      to: to.slice(),
      echo: echo.slice(),
      nonce: nonce.slice(),
      sequence,
      bootId,
      isMirrorReady,
      role,
      term,
      versions,
      receiveBuffer,
      mode,
    };
  },
  [CONTROL_HEARTBEAT]: ([, said, sequence, role, term, isMirrorReady, list, receiveBuffer, mode]) => {
    const versions = toVersions(said);
    if (versions === undefined || !isCount(sequence) || !isByte(role) || !isCount(term)) return undefined;
    if (typeof isMirrorReady !== 'boolean' || !Array.isArray(list) || list.length > LISTED_MAX)
      return undefined;
    if (!isCount(receiveBuffer) || !isByte(mode)) return undefined;
    const opinions: Opinion[] = [];
    for (const row of list) {
      if (!Array.isArray(row)) return undefined;
      const [incarnation, applied, verdict, verdictAt, silentMs] = row as unknown[];
      if (!isId(incarnation) || !isCount(applied) || !isByte(verdict)) return undefined;
      if (!isCount(verdictAt) || !Array.isArray(silentMs) || silentMs.length > LINKS_MAX) return undefined;
      if (!silentMs.every(isCount)) return undefined;
      opinions.push({ incarnation: incarnation.slice(), applied, verdict, verdictAt, silentMs });
    }
    return {
      type: CONTROL_HEARTBEAT,
      versions,
      sequence,
      role,
      term,
      isMirrorReady,
      opinions,
      receiveBuffer,
      mode,
    };
  },
  [CONTROL_ACK]: ([, list]) => {
    if (!Array.isArray(list) || list.length > LISTED_MAX) return undefined;
    const acks: Ack['acks'] = [];
    for (const row of list) {
      if (!Array.isArray(row)) return undefined;
      const [incarnation, applied] = row as unknown[];
      if (!isId(incarnation) || !isCount(applied)) return undefined;
      acks.push({ incarnation: incarnation.slice(), applied });
    }
    return { type: CONTROL_ACK, acks };
  },
  [CONTROL_REQUEST]: ([, to, kind, bitmap]) => {
    if (!isId(to) || !isByte(kind) || !(bitmap instanceof Uint8Array)) return undefined;
    if (!isRequestLength(kind, bitmap.length)) return undefined;
    return { type: CONTROL_REQUEST, to: to.slice(), kind, bitmap: bitmap.slice() };
  },
  [CONTROL_NACK]: ([, to, list]) => {
    if (!isId(to) || !Array.isArray(list) || list.length < 1 || list.length > NACK_RANGES_MAX)
      return undefined;
    const ranges: Nack['ranges'] = [];
    for (const row of list) {
      if (!Array.isArray(row)) return undefined;
      const [first, last] = row as unknown[];
      if (!isCount(first) || !isCount(last) || first < 1 || last < first) return undefined;
      ranges.push([first, last]);
    }
    return { type: CONTROL_NACK, to: to.slice(), ranges };
  },
  [CONTROL_GONE]: ([, lowest]) => {
    return isCount(lowest) && lowest > 0 ? { type: CONTROL_GONE, lowest } : undefined;
  },
  [CONTROL_SETTINGS]: ([, list]) => {
    if (!Array.isArray(list) || list.length > SETTINGS_MAX) return undefined;
    const settings: Settings['settings'] = [];
    for (const row of list) {
      if (!Array.isArray(row)) return undefined;
      const [name, text] = row as unknown[];
      if (typeof name !== 'string' || typeof text !== 'string') return undefined;
      settings.push([name, text]);
    }
    return { type: CONTROL_SETTINGS, settings };
  },
};

/** True if the bin of a REQUEST of this kind can have this many bytes. */
function isRequestLength(kind: number, bytes: number): boolean {
  switch (kind) {
    case REQUEST_GROUPS:
    case REQUEST_EXPECTATIONS:
      return bytes === 0;
    case REQUEST_SEGMENTS:
      return bytes === SUMS_WIDTH / 8;
    case REQUEST_SCOPES:
    case REQUEST_FINE_SUMS:
      return bytes === SEGMENTS / 8;
    case REQUEST_FINE_SCOPES:
      return bytes > 0 && bytes % 4 === 0 && bytes <= FINE_LISTED_MAX * 4;
    default:
      return false;
  }
}
