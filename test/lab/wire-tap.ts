/** A firewall without a daemon that listens on the sync link, and says again what it heard. */
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { readCapture } from './capture.js';
import { ended } from './command.js';
import { eventually } from './deadline.js';
import type { FirewallName, Lab } from './lab.js';
import { SYNC_GROUP, SYNC_PORT } from './lab-daemon.js';
import { program } from './program.js';

const TAP_PROGRAM = 'test/lab/wire-tap-program';
const LISTENS_WITHIN_MS = 20_000;

/** What was sent. */
export interface SendReport {
  readonly sent: number;
  readonly durationMs: number;
}

/** Every datagram of the sync link from `start` to `stop`. */
export class WireTap {
  private output = '';

  private constructor(
    private readonly lab: Lab,
    private readonly fw: FirewallName,
    private readonly file: string,
    private readonly child: ChildProcess,
  ) {
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.output += text;
    });
  }

  /** Listens in a firewall; what it hears stands under `name` in the lab's directory after `stop`. */
  static async start(lab: Lab, fw: FirewallName, name: string): Promise<WireTap> {
    const file = join(lab.directory, `${name}.capture`);
    const argv = [...program(TAP_PROGRAM), 'record', ...place(lab, fw), file];
    const tap = new WireTap(lab, fw, file, lab.spawn(fw, argv, { stdio: ['pipe', 'pipe', 'inherit'] }));
    await eventually('the tap listens', { withinMs: LISTENS_WITHIN_MS }, () => tap.output !== '');
    return tap;
  }

  /** Ends it and returns what was heard. */
  async stop(): Promise<Buffer[]> {
    const closed = new Promise((resolve) => this.child.once('close', resolve));
    this.child.stdin?.end();
    await Promise.all([closed, ended(this.child)]);
    return readCapture(this.file);
  }

  /** Sends what was heard again, at a rate. */
  replay(perSecond: number): Promise<SendReport> {
    return this.run('replay', [perSecond]);
  }

  /** Sends spoilt copies of what was heard: cut, lengthened, with bits flipped. */
  mutate(perSecond: number, count: number, seed: number): Promise<SendReport> {
    return this.run('mutate', [perSecond, count, seed]);
  }

  private async run(verb: string, numbers: readonly number[]): Promise<SendReport> {
    const { lab, fw, file } = this;
    const argv = [...program(TAP_PROGRAM), verb, ...place(lab, fw), file, ...numbers.map(String)];
    return JSON.parse(await lab.exec(fw, argv, { timeoutMs: 600_000 })) as SendReport;
  }
}

function place(lab: Lab, fw: FirewallName): string[] {
  return [SYNC_GROUP, String(SYNC_PORT), `10.9.0.${lab.firewalls.indexOf(fw) + 1}`];
}
