/** What sealing costs a record: full frames of typical flows, sealed and opened in this process. */
import { randomBytes } from 'node:crypto';
import { PskCipher } from '../../src/daemon/cipher.js';
import { KEY_BYTES } from '../../src/limits.js';
import { TAG_BYTES } from '../../src/wire/cipher.js';
import { CLASS_STREAM } from '../../src/wire/frame.js';

export interface SealingCost {
  /** Microseconds a record. */
  readonly sealUs: number;
  readonly openUs: number;
}

const FRAME_BYTES = 1472;
const HEAD_BYTES = 48;
/** Records of a full frame: a TCP flow without NAT takes 36 to 40 bytes. */
const RECORDS = Math.floor((FRAME_BYTES - HEAD_BYTES - TAG_BYTES) / 40);
const WARM = 20_000;
const ROUNDS = 50_000;

/** Seals and opens `ROUNDS` full frames. */
export function measureSealing(): SealingCost {
  const cipher = new PskCipher([{ id: 1, key: randomBytes(KEY_BYTES) }], 1);
  const name = new TextEncoder().encode('bench');
  const key = cipher.derive(1, name, name, randomBytes(16), CLASS_STREAM);
  if (key === undefined) throw new Error('the cipher does not know its own key');
  const plain = FRAME_BYTES - HEAD_BYTES - TAG_BYTES;
  const frame = new Uint8Array(FRAME_BYTES).fill(7);
  const out = new Uint8Array(FRAME_BYTES);
  const seal = (i: number) => key.seal(frame, 0, HEAD_BYTES, HEAD_BYTES, plain, i);
  const open = (i: number) => key.open(frame, 0, HEAD_BYTES, HEAD_BYTES, plain + TAG_BYTES, i, out);
  const perRecord = (step: (i: number) => void): number => {
    for (let i = 1; i <= WARM; i++) step(i);
    const start = performance.now();
    for (let i = 1; i <= ROUNDS; i++) step(i);
    return ((performance.now() - start) * 1000) / ROUNDS / RECORDS;
  };
  const sealUs = perRecord(seal);
  seal(1);
  if (open(1) !== plain) throw new Error('a sealed frame does not open');
  return { sealUs, openUs: perRecord(() => open(1)) };
}
