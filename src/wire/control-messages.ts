/**
 * Control messages: one msgpack array in the payload of a control frame. Cold, so they go through the
 * library, with its limits set; every element is checked, and further elements (of a later version) are
 * ignored.
 *
 *     HELLO     [1, nonce, versions]
 *     WELCOME   [2, to, echo of the nonce, own nonce, sequence, boot id, mirrorReady, role, term, versions]
 *     HEARTBEAT [4, versions, sequence, role, term, mirrorReady, [[incarnation, applied, verdict, at, silent]*]]
 *     ACK       [5, [[incarnation, applied]*]]
 *     REQUEST   [6, to, kind, bitmap]
 *
 * A WELCOME proves its sender to the one it is for, who answers with his own WELCOME; a nonce of zeros in it
 * asks for no further answer, so two messages each way end it.
 *
 * versions = [lowest, highest frame version, lowest, highest record version]. HELLO, WELCOME and HEARTBEAT
 * are frozen: every later version reads and writes these elements at these places.
 */
import { Decoder, Encoder } from '@msgpack/msgpack';
import { NAME_MAX_BYTES, PEERS_MAX } from '../limits.js';
import { FRAME_VERSION, INCARNATION_BYTES } from './frame.js';
import {
  CONTROL_ACK,
  CONTROL_HEARTBEAT,
  CONTROL_HELLO,
  CONTROL_REQUEST,
  CONTROL_WELCOME,
  SEGMENTS,
  SUMS_WIDTH,
} from './ops.js';

/** Bytes of a nonce. */
export const NONCE_BYTES = 16;
/** Version of the record's layout on the wire. */
const RECORD_VERSION = 1;

/**
 * REQUEST: sums of the 64 groups (bitmap empty), of the segments of some groups (64 bits), or whole scopes.
 */
export const REQUEST_GROUPS = 1;
export const REQUEST_SEGMENTS = 2;
export const REQUEST_SCOPES = 3;

export interface Hello {
  type: typeof CONTROL_HELLO;
  nonce: Uint8Array;
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
}
/** What a heartbeat says about one peer: that its sender believes it, and what it made of its stream. */
export interface Opinion {
  incarnation: Uint8Array;
  applied: number;
  verdict: number;
  /** The sequence at which the verdict was found. */
  verdictAt: number;
  silentMs: number;
}
export interface Heartbeat {
  type: typeof CONTROL_HEARTBEAT;
  sequence: number;
  role: number;
  term: number;
  isMirrorReady: boolean;
  opinions: Opinion[];
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
export type ControlMessage = Hello | Welcome | Heartbeat | Ack | Request;

const VERSIONS = [FRAME_VERSION, FRAME_VERSION, RECORD_VERSION, RECORD_VERSION];
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
    return read(value) ?? 'control.invalid';
  }
}

function toArray(m: ControlMessage): unknown[] {
  switch (m.type) {
    case CONTROL_HELLO:
      return [m.type, m.nonce, VERSIONS];
    case CONTROL_WELCOME:
      return [m.type, m.to, m.echo, m.nonce, m.sequence, m.bootId, m.isMirrorReady, m.role, m.term, VERSIONS];
    case CONTROL_HEARTBEAT:
      return [
        m.type,
        VERSIONS,
        m.sequence,
        m.role,
        m.term,
        m.isMirrorReady,
        m.opinions.map((o) => [o.incarnation, o.applied, o.verdict, o.verdictAt, o.silentMs]),
      ];
    case CONTROL_ACK:
      return [m.type, m.acks.map((a) => [a.incarnation, a.applied])];
    case CONTROL_REQUEST:
      return [m.type, m.to, m.kind, m.bitmap];
  }
}

const isCount = (v: unknown): v is number => Number.isSafeInteger(v) && (v as number) >= 0;
const isByte = (v: unknown): v is number => isCount(v) && v <= 255;
const isBin = (v: unknown, bytes: number): v is Uint8Array => v instanceof Uint8Array && v.length === bytes;
const isId = (v: unknown): v is Uint8Array => isBin(v, INCARNATION_BYTES);
/** True if a sender that says these versions can be read by this one. */
const areVersions = (v: unknown): boolean =>
  Array.isArray(v) &&
  v.length >= 4 &&
  v.every(isCount) &&
  v[0] <= FRAME_VERSION &&
  v[1] >= FRAME_VERSION &&
  v[2] <= RECORD_VERSION &&
  v[3] >= RECORD_VERSION;

// Bins are views into the datagram, which is reused: what is kept must be copied.
const READERS: Record<number, ((v: unknown[]) => ControlMessage | undefined) | undefined> = {
  [CONTROL_HELLO]: ([, nonce, versions]) => {
    if (!isBin(nonce, NONCE_BYTES) || !areVersions(versions)) return undefined;
    return { type: CONTROL_HELLO, nonce: nonce.slice() };
  },
  [CONTROL_WELCOME]: ([, to, echo, nonce, sequence, bootId, isMirrorReady, role, term, versions]) => {
    if (!isId(to) || !isBin(echo, NONCE_BYTES) || !isBin(nonce, NONCE_BYTES) || !areVersions(versions)) {
      return undefined;
    }
    if (!isCount(sequence) || typeof bootId !== 'string' || bootId.length > BOOT_ID_MAX_CHARS)
      return undefined;
    if (typeof isMirrorReady !== 'boolean' || !isByte(role) || !isCount(term)) return undefined;
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
    };
  },
  [CONTROL_HEARTBEAT]: ([, versions, sequence, role, term, isMirrorReady, list]) => {
    if (!areVersions(versions) || !isCount(sequence) || !isByte(role) || !isCount(term)) return undefined;
    if (typeof isMirrorReady !== 'boolean' || !Array.isArray(list) || list.length > LISTED_MAX)
      return undefined;
    const opinions: Opinion[] = [];
    for (const row of list) {
      if (!Array.isArray(row)) return undefined;
      const [incarnation, applied, verdict, verdictAt, silentMs] = row as unknown[];
      if (!isId(incarnation) || !isCount(applied) || !isByte(verdict)) return undefined;
      if (!isCount(verdictAt) || !isCount(silentMs)) return undefined;
      opinions.push({ incarnation: incarnation.slice(), applied, verdict, verdictAt, silentMs });
    }
    return { type: CONTROL_HEARTBEAT, sequence, role, term, isMirrorReady, opinions };
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
    const bytes = kind === REQUEST_GROUPS ? 0 : kind === REQUEST_SEGMENTS ? SUMS_WIDTH / 8 : SEGMENTS / 8;
    if (kind < REQUEST_GROUPS || kind > REQUEST_SCOPES || bitmap.length !== bytes) return undefined;
    return { type: CONTROL_REQUEST, to: to.slice(), kind, bitmap: bitmap.slice() };
  },
};
