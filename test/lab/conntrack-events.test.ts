/** `conntwin conntrack -E` beside Debian's under 20,000 events a second: what one shows, the other shows. */
import { expect, test } from 'vitest';
import { Churn } from './background-flows.js';
import { ended } from './command.js';
import { eventually } from './deadline.js';
import { Lab } from './lab.js';
import { CONNTWIN_PROGRAM, program } from './program.js';

/** Flows that come and go; each is two events. */
const FLOWS_PER_SECOND = 10_000;
const CHURN_MS = 3000;
/** Enough for what a crowded machine leaves waiting. */
const BUFFER_BYTES = String(64 << 20);

/** A listener's events of flows of the generator, counted as they come, for they are many. */
class Listener {
  events = 0;
  said = '';
  private readonly child;

  constructor(lab: Lab, command: readonly string[]) {
    this.child = lab.spawn('fw1', [...command, '-E', '-b', BUFFER_BYTES], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child.stdout?.on('data', (data: Buffer) => {
      for (let at = data.indexOf(10); at >= 0; at = data.indexOf(10, at + 1)) this.events++;
    });
    this.child.stderr?.on('data', (data) => {
      this.said += data;
    });
  }

  async stop(): Promise<void> {
    this.child.kill('SIGINT');
    await ended(this.child);
  }
}

test('-E shows every event that Debian shows', async () => {
  const lab = await Lab.create({ flows: 100_000 });
  try {
    const ours = new Listener(lab, [...program(CONNTWIN_PROGRAM), 'conntrack']);
    const theirs = new Listener(lab, ['conntrack']);
    const flow = '-p udp -s 10.1.0.9 -d 10.2.0.9 --sport 1 --dport 2';
    await eventually('both listen', { withinMs: 15_000, everyMs: 50 }, async () => {
      await lab.tryExec('fw1', ['conntrack', '-I', ...flow.split(' '), '-t', '60']);
      await lab.tryExec('fw1', ['conntrack', '-D', ...flow.split(' ')]);
      return ours.events > 0 && theirs.events > 0;
    });
    const [oursBefore, theirsBefore] = [ours.events, theirs.events];
    const churn = Churn.start(lab, 'fw1', FLOWS_PER_SECOND, 2000);
    await new Promise((resolve) => setTimeout(resolve, CHURN_MS));
    await churn.stop();
    let last = -1;
    await eventually('both have read what there is', { withinMs: 30_000, everyMs: 500 }, () => {
      const now = ours.events + theirs.events;
      const isQuiet = now === last;
      last = now;
      return isQuiet;
    });
    await Promise.all([ours.stop(), theirs.stop()]);
    const shown = { ours: ours.events - oursBefore, theirs: theirs.events - theirsBefore };
    // Two a flow, whatever the machine made of the rate.
    expect(shown.theirs).toBeGreaterThan(FLOWS_PER_SECOND);
    expect(shown.ours).toBeGreaterThanOrEqual(shown.theirs);
    if (!theirs.said.includes('ENOBUFS')) expect(ours.said).not.toContain('WARNING');
  } finally {
    await lab.close();
  }
});
