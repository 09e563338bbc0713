/** One side of the traffic as the test sees it: the program, and what it answers. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { ended } from '../command.js';
import type { Lab } from '../lab.js';
import { program } from '../program.js';
import type { Party } from './kinds.js';
import type { PartyReply } from './party-program.js';

const PROGRAM = 'test/lab/traffic/party-program';

/** A running program; its commands are answered one after the other. */
export class PartyProcess {
  readonly #child: ChildProcess;
  readonly #waiting: { take(reply: PartyReply): void; fail(error: Error): void }[] = [];

  constructor(lab: Lab, side: Party, count: number, kinds: readonly string[]) {
    const argv = [...program(PROGRAM), side, String(count), ...kinds];
    this.#child = lab.spawn(side === 'inside' ? 'client' : 'server', argv, {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    if (!this.#child.stdout) throw new TypeError('the program needs a pipe as its standard output');
    createInterface({ input: this.#child.stdout }).on('line', (line) =>
      this.#waiting.shift()?.take(JSON.parse(line) as PartyReply),
    );
    this.#child.once('exit', (code) => {
      for (const { fail } of this.#waiting) fail(new Error(`the program ${side} ended with ${code}`));
    });
  }

  ask(command: string): Promise<PartyReply> {
    return new Promise((take, fail) => {
      this.#waiting.push({ take, fail });
      this.#child.stdin?.write(`${command}\n`);
    });
  }

  async close(): Promise<void> {
    this.#child.stdin?.end();
    await ended(this.#child);
  }
}
