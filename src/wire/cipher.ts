/**
 * What seals frames: a port, so that the core stays without node:crypto and the simulator can have a cheap one.
 *
 * A frame's payload is sealed with AES-256-GCM under a key that belongs to one incarnation and one class of frames:
 * HKDF-SHA-256(key file, cluster, node, incarnation, stream | control). The nonce is the frame's counter, the
 * associated data is everything before the payload (frame.ts). A (key, counter) is sealed once; a resend sends the
 * same bytes.
 */

/** Bytes that sealing adds to a payload. */
export const TAG_BYTES = 16;

/** The key of one incarnation's frames of one class. */
export interface FrameKey {
  /**
   * Seals `bytes` bytes at `payloadAt` of the frame in place and writes TAG_BYTES behind them; `headFrom` to `headTo`
   * is the associated data.
   */
  seal(
    frame: Uint8Array,
    headFrom: number,
    headTo: number,
    payloadAt: number,
    bytes: number,
    counter: number,
  ): void;
  /**
   * Opens a payload of `bytes` bytes (tag included) into `out` at 0. Returns its plain length, or -1 if it is forged.
   * Never throws.
   */
  open(
    frame: Uint8Array,
    headFrom: number,
    headTo: number,
    payloadAt: number,
    bytes: number,
    counter: number,
    out: Uint8Array,
  ): number;
}

/** Highest key id; 0 stands for a frame that is not sealed. */
export const KEY_ID_MAX = 255;

export interface Cipher {
  /** The key id to send with, 1 to KEY_ID_MAX. */
  readonly sendKeyId: number;
  /** Another number whenever the keys were replaced: what was derived before is to be derived again. */
  readonly generation: number;
  /** The key, derived anew at every call; undefined when the key id is not known. */
  derive(
    keyId: number,
    cluster: Uint8Array,
    node: Uint8Array,
    incarnation: Uint8Array,
    frameClass: number,
  ): FrameKey | undefined;
}
