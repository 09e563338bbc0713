/** The loops of kernel-limit-program.ts in a firewall of a lab. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { ended } from '../lab/command.js';
import type { FirewallName, Lab } from '../lab/lab.js';
import { program } from '../lab/program.js';

const PROGRAM = 'test/bench/kernel-limit-program';

/** A loop that takes conntrack events and throws them away. */
export class EventSink {
  private constructor(
    private readonly child: ChildProcess,
    private readonly lines: AsyncIterator<string>,
  ) {}

  static async start(lab: Lab, fw: FirewallName): Promise<EventSink> {
    const child = lab.spawn(fw, [...program(PROGRAM), 'receive'], { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    await lines.next();
    return new EventSink(child, lines);
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** Ends it; events that it took. */
  async stop(): Promise<number> {
    this.child.stdin?.end();
    const { value } = await this.lines.next();
    await ended(this.child);
    return (JSON.parse(value) as { datagrams: number }).datagrams;
  }
}

/** Milliseconds that a dump takes whose rows nobody looks at. */
export async function bareDumpMs(lab: Lab, fw: FirewallName): Promise<number> {
  const text = await lab.exec(fw, [...program(PROGRAM), 'dump']);
  return (JSON.parse(text) as { durationMs: number }).durationMs;
}
