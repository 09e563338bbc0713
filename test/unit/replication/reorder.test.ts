import { describe, expect, it } from 'vitest';
import { FRAME_MAX_BYTES, REORDER_FRAMES, REORDER_MAX_BYTES } from '../../../src/limits.js';
import { ReorderBuffer } from '../../../src/replication/reorder.js';

const payload = (n: number, length = 100): Uint8Array => new Uint8Array(length).fill(n & 255);

describe('frames before their turn', () => {
  it('are copied and found by their sequence only', () => {
    const buffer = new ReorderBuffer();
    const bytes = payload(7);
    expect(buffer.put(7, bytes, 10, 20, 0)).toBe(true);
    bytes.fill(0);
    expect(buffer.has(7)).toBe(true);
    expect(buffer.has(7 + REORDER_FRAMES)).toBe(false);
    expect([...buffer.payload(7).subarray(0, buffer.lengthOf(7))]).toEqual(new Array(10).fill(7));
    buffer.release(7);
    expect(buffer.count).toBe(0);
    expect(buffer.has(7)).toBe(false);
  });

  it('are bounded in number and bytes, and their memory is used again', () => {
    const buffer = new ReorderBuffer();
    for (let n = 1; n <= REORDER_FRAMES; n++) expect(buffer.put(n, payload(n, 1400), 0, 1400, 0)).toBe(true);
    expect(buffer.put(REORDER_FRAMES + 1, payload(1), 0, 1, 0)).toBe(false);
    expect(buffer.bytes).toBeLessThanOrEqual(REORDER_MAX_BYTES);
    buffer.releaseBelow(REORDER_FRAMES + 1);
    const { bytes } = buffer;
    for (let n = 1; n <= REORDER_FRAMES; n++) buffer.put(REORDER_FRAMES + n, payload(n, 1400), 0, 1400, 0);
    expect(buffer.bytes).toBe(bytes);
    buffer.releaseBelow(2 * REORDER_FRAMES + 1);
    buffer.trim(20_000);
    expect(buffer.bytes).toBe(0);
  });

  it('of the largest size stay below the limit of bytes', () => {
    const buffer = new ReorderBuffer();
    let kept = 0;
    for (let n = 1; n <= REORDER_FRAMES; n++) {
      if (buffer.put(n, payload(n, FRAME_MAX_BYTES), 0, FRAME_MAX_BYTES, 0)) kept++;
    }
    expect(kept).toBe(Math.floor(REORDER_MAX_BYTES / 16_384));
    expect(buffer.put(5000, payload(1, FRAME_MAX_BYTES + 1), 0, FRAME_MAX_BYTES + 1, 0)).toBe(false);
  });
});
