/** Debian's conntrack -E and ours in one namespace, so that both hear the same, and how one knows that they have. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { commandEnvironment, ended } from '../command.js';
import { eventually } from '../deadline.js';
import { CONNTWIN_PROGRAM, program } from '../program.js';
import type { Outcome } from './comparison.js';
import { inside } from './twins.js';

const WITHIN = { withinMs: 30_000, everyMs: 5 };
const NETLINK_NETFILTER = '12'; // linux/netlink.h

class Listener {
  private stdout = '';
  private stderr = '';
  private readonly child: ChildProcess;

  constructor(namespace: string, [file, ...args]: readonly string[]) {
    this.child = inside(namespace, () => spawn(file, args, { env: commandEnvironment() }));
    this.child.stdout?.on('data', (chunk: Buffer) => {
      this.stdout += chunk.toString('latin1');
    });
    this.child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString('latin1');
    });
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  /** Bytes that wait in each netlink socket of the namespace that is a member of a group. */
  get waiting(): number[] {
    const rows = readFileSync(`/proc/${this.child.pid}/net/netlink`, 'latin1').trim().split('\n').slice(1);
    return rows
      .map((row) => row.trim().split(/\s+/))
      .filter(([, kind, , groups]) => kind === NETLINK_NETFILTER && Number.parseInt(groups, 16) !== 0)
      .map((row) => Number(row[4]));
  }

  /** Whether it waits for something to happen. */
  get isAsleep(): boolean {
    return / S /.test(readFileSync(`/proc/${this.child.pid}/stat`, 'latin1').split(')').at(-1) ?? '');
  }

  async stop(): Promise<Outcome> {
    if (!this.hasEnded) this.child.kill('SIGINT');
    await new Promise<void>((resolve) => {
      if (this.hasEnded) void ended(this.child).then(resolve);
      else this.child.once('close', () => resolve());
    });
    return { code: this.child.exitCode ?? 128, stdout: this.stdout, stderr: this.stderr };
  }
}

export class Listeners {
  private readonly debian: Listener;
  private readonly twin: Listener;

  /** `twinWords`: what our program is given, where Debian's takes its words for something else. */
  constructor(namespace: string, words: readonly string[], twinWords: readonly string[]) {
    this.debian = new Listener(namespace, ['conntrack', ...words]);
    this.twin = new Listener(namespace, [...program(CONNTWIN_PROGRAM), 'conntrack', ...twinWords]);
  }

  /** Resolves when both hear events, or one has refused its words. */
  async ready(): Promise<void> {
    const both = [this.debian, this.twin];
    await eventually('both listen', WITHIN, () =>
      both.some((one) => one.hasEnded) ? true : this.debian.waiting.length === both.length,
    );
  }

  /** What both showed until now. */
  async stop(): Promise<{ debian: Outcome; twin: Outcome }> {
    const both = [this.debian, this.twin];
    await eventually('both have read all events', WITHIN, () => {
      if (both.some((one) => one.hasEnded)) return true;
      return this.debian.waiting.every((bytes) => bytes === 0) && both.every((one) => one.isAsleep);
    });
    const [debian, twin] = await Promise.all(both.map((one) => one.stop()));
    return { debian, twin };
  }
}
