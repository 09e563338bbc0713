/** The longest silences on the sync link, as a third node hears them. The lab must have three firewalls. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Lab } from '../lab/lab.js';
import { program } from '../lab/program.js';

const PROGRAM = 'test/bench/silence-program';

export class Silences {
  private constructor(
    private readonly child: ChildProcess,
    private readonly lines: AsyncIterator<string>,
  ) {}

  static async start(lab: Lab): Promise<Silences> {
    const child = lab.spawn('fw3', program(PROGRAM), { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    await lines.next();
    return new Silences(child, lines);
  }

  /** Of firewall 1 or 2, since the last question; milliseconds. */
  async longest(firewall: 1 | 2): Promise<number> {
    this.child.stdin?.write('\n');
    const { value } = await this.lines.next();
    return (JSON.parse(value) as Record<string, number>)[`10.9.0.${firewall}`] ?? Number.NaN;
  }
}
