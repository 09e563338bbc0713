/**
 * Builds the frames of the own stream where they stay: in the ring. A frame is begun and sent within one flush, so
 * nothing changes in the table between its first op and its last.
 *
 * A caller opens a frame, appends an op, and if that says there is no room, takes the next frame and appends again.
 */
import { CLASS_STREAM } from '../wire/frame.js';
import { OpWriter } from '../wire/op-writer.js';
import type { FrameRing } from './frame-ring.js';
import type { Self } from './self.js';
import type { Window } from './window.js';

/** Slots taken up in one flush, and frames built in it: about a millisecond of work. */
const FLUSH_SLOTS = 1024;
const FLUSH_FRAMES = 48;
/** Room that a run of a scope waits for; the few longer runs may go that much beyond the window. Frames. */
const RUN_FRAMES = 8;

export class FrameBuilder {
  readonly ops = new OpWriter();
  /** Last frame sent. */
  sequence = 0;
  /** Slots looked at in this flush, or other work as long. */
  slots = 0;
  now = 0;
  lastFrameAt = Number.NEGATIVE_INFINITY;
  /** Something was said since the last MARK. */
  isUnmarked = false;
  readonly #self: Self;
  readonly #ring: FrameRing;
  readonly #window: Window;
  #frames = 0;
  #room = 0;
  #isOpen = false;

  constructor(self: Self, ring: FrameRing, window: Window) {
    this.#self = self;
    this.#ring = ring;
    this.#window = window;
  }

  /** A flush begins. */
  begin(now: number): void {
    this.now = now;
    this.slots = 0;
    this.#frames = 0;
    this.#room = this.#window.room(this.sequence, now);
  }

  /** Frames that the window takes, the open one not counted. */
  get room(): number {
    return this.#room;
  }

  /** Bytes of a frame, head and all. */
  get frameBytes(): number {
    return this.#ring.frameBytes;
  }

  /** True while this flush has done less than `share` of its work, and the window is open. */
  mayGoOn(share: number): boolean {
    return this.#room > 0 && this.#frames < FLUSH_FRAMES * share && this.slots < FLUSH_SLOTS * share;
  }

  /** True if a run of that many frames may begin: it is not to be cut by a window that shuts in its middle. */
  hasRoomFor(frames: number): boolean {
    return this.#room >= Math.min(frames, RUN_FRAMES);
  }

  /** Begins a frame, unless one is open. */
  open(): void {
    if (this.#isOpen) return;
    const frame = this.#ring.buffer(this.sequence + 1);
    const { headBytes, tailBytes } = this.#self.frames;
    this.ops.bytes.reset(frame, headBytes, frame.length - tailBytes);
    this.#self.stamp++;
    this.#isOpen = true;
  }

  /** The op did not fit: sends the frame and begins another. */
  next(): void {
    this.send();
    this.open();
  }

  /** Sends the open frame, if there is one with anything in it. */
  send(): void {
    if (!this.#isOpen) return;
    const payload = this.ops.bytes.at - this.#self.frames.headBytes;
    this.#isOpen = false;
    if (payload === 0) return;
    this.#window.noteSend(this.sequence, this.now);
    const sequence = ++this.sequence;
    const frame = this.#ring.buffer(sequence);
    const { frames, frameVersion } = this.#self;
    const length = frames.finish(frame, CLASS_STREAM, sequence, payload, frameVersion);
    this.#ring.setSent(sequence, length, this.now, this.#self.stamp);
    this.lastFrameAt = this.now;
    this.#frames++;
    this.#room--;
    this.#self.ports.send(frame, length, this.#self.dataLink);
  }
}
