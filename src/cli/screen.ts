/** Pages that follow each other: drawn over each other on a terminal, one after the other elsewhere. */
import type { Terminal } from './terminal.js';

const CLEAR_ALL = '\x1b[H\x1b[2J';
const HOME = '\x1b[H';
const CLEAR_LINE_END = '\x1b[K';
const CLEAR_BELOW = '\x1b[J';
const SEPARATOR = `${'-'.repeat(72)}\n`;

export class Screen {
  readonly #terminal: Terminal;
  readonly #isBare: boolean;
  #pages = 0;

  /** `isBare`: pages are lines of their own (JSON), to be neither separated nor drawn over. */
  constructor(terminal: Terminal, isBare: boolean) {
    this.#terminal = terminal;
    this.#isBare = isBare;
  }

  /** Shows a page in place of the one before. It is not cleared first: that would flicker. */
  async draw(text: string): Promise<void> {
    const lines = this.#isBare ? undefined : this.#terminal.screenLines();
    const isFirst = this.#pages++ === 0;
    if (lines === undefined) {
      await this.#terminal.out(isFirst || this.#isBare ? text : SEPARATOR + text);
      return;
    }
    const page = cropped(text, lines).replaceAll('\n', `${CLEAR_LINE_END}\n`);
    await this.#terminal.out((isFirst ? CLEAR_ALL : HOME) + page + CLEAR_BELOW);
  }

  /** A line that stays until the next page: under the page on a terminal, else on standard error. */
  async note(text: string): Promise<void> {
    if (this.#isBare || this.#terminal.screenLines() === undefined) this.#terminal.err(`conntwin: ${text}\n`);
    else await this.#terminal.out(`\r${text}${CLEAR_LINE_END}`);
  }
}

/** What is longer than the terminal would scroll its top away. The last line stays free for a note. */
function cropped(text: string, lines: number): string {
  const all = text.split('\n');
  // The text ends with a line end: its last piece is empty.
  if (all.length <= lines) return text;
  return `${all.slice(0, Math.max(1, lines - 2)).join('\n')}\n... ${all.length - lines + 1} more lines\n`;
}

/** Resolves after a time, or when the signal aborts. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });
}
