/** Where the demo shows what happens: redrawn in place on a terminal, otherwise one line for each step. */
import type { WriteStream } from 'node:tty';

/** Takes over no more of the terminal than the lines it draws; `end` leaves the last picture standing. */
export class Screen {
  private drawn = 0;

  constructor(private readonly stream: NodeJS.WriteStream | WriteStream) {}

  get isTerminal(): boolean {
    return this.stream.isTTY === true;
  }

  /** Draws lines over the ones drawn before. */
  draw(lines: readonly string[]): void {
    const columns = this.stream.columns ?? 80;
    const up = this.drawn > 0 ? `\x1b[${this.drawn}A` : '';
    const text = lines.map((line) => `\x1b[2K${line.slice(0, columns - 1)}\n`).join('');
    this.stream.write(`${up}${text}`);
    this.drawn = lines.length;
  }

  /** Writes a line that stays. */
  print(line: string): void {
    this.stream.write(`${line}\n`);
    this.drawn = 0;
  }
}
