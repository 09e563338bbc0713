/** Datagrams in a file: each behind its length in four bytes. */
import { readFileSync, writeFileSync } from 'node:fs';

const LENGTH_BYTES = 4;

export function writeCapture(file: string, frames: readonly Uint8Array[]): void {
  const parts = frames.flatMap((frame) => {
    const length = Buffer.alloc(LENGTH_BYTES);
    length.writeUInt32LE(frame.length);
    return [length, frame];
  });
  writeFileSync(file, Buffer.concat(parts));
}

export function readCapture(file: string): Buffer[] {
  const all = readFileSync(file);
  const frames: Buffer[] = [];
  for (let at = 0; at < all.length; ) {
    const end = at + LENGTH_BYTES + all.readUInt32LE(at);
    frames.push(all.subarray(at + LENGTH_BYTES, end));
    at = end;
  }
  return frames;
}
