/** Failovers back and forth between two firewalls, each in one of the ways in which they happen. */
import { setTimeout as pause } from 'node:timers/promises';
import type { FailoverReport } from '../../../src/control/messages.js';
import { eventually } from '../deadline.js';
import type { FirewallPair } from '../firewall-pair.js';
import type { LabDaemon } from '../lab-daemon.js';

export type Way =
  /** keepalived moves the addresses, then the old primary hears "backup", then the new one "primary". */
  | 'planned, backup line first'
  /** The same, with the lines in the other order. */
  | 'planned, primary line first'
  /** All cables of the primary are cut; it believes that it is primary until they are mended. */
  | 'cables cut'
  /** The primary's daemon is killed, and comes back later, with its kernel table as it was. */
  | 'daemon killed';

const HEARD_WITHIN_MS = 15_000;
const VERIFY_WITHIN_MS = 15_000;
const VERIFY_EVERY_MS = 100;

/** Who is primary, and what happened last. */
export class Failovers {
  active: LabDaemon;
  standby: LabDaemon;
  report: FailoverReport | undefined;

  constructor(private readonly pair: FirewallPair) {
    this.active = pair.fw1;
    this.standby = pair.fw2;
  }

  /** Takes the addresses, and the role, from one to the other. Resolves when connections may run again. */
  async over(way: Way): Promise<void> {
    const { lab } = this.pair;
    const { active: old, standby: next } = this;
    if (way === 'cables cut') await Promise.all([lab.cut(old.name), lab.cutSync(old.name)]);
    else if (way === 'daemon killed') await old.kill();
    await lab.activate(next.name);
    if (way === 'planned, backup line first') await old.failover('backup');
    this.report = await next.failover('primary');
    if (way === 'planned, primary line first') await old.failover('backup');
    [this.active, this.standby] = [next, old];
  }

  /** The old primary comes back, and learns that it is none any more. */
  async back(way: Way): Promise<void> {
    const { lab } = this.pair;
    const { active, standby } = this;
    if (way === 'cables cut') await Promise.all([lab.mend(standby.name), lab.mendSync(standby.name)]);
    else if (way === 'daemon killed') await standby.start();
    else return;
    await standby.failover('backup');
    const both = [active, standby];
    await eventually('the firewalls hear each other', { withinMs: HEARD_WITHIN_MS }, async () => {
      const all = await Promise.all(both.map((daemon) => daemon.status()));
      return all.every(({ peers }) => peers.some((peer) => peer.alive));
    });
  }

  /** A verification says 0 on both. */
  async verified(): Promise<void> {
    await Promise.all([this.active, this.standby].map((daemon) => verifies(daemon)));
  }
}

async function verifies(daemon: LabDaemon): Promise<void> {
  const end = performance.now() + VERIFY_WITHIN_MS;
  for (;;) {
    const { exitCode, differences, peers, reasons } = await daemon.verify();
    if (exitCode === 0) return;
    if (performance.now() >= end) {
      const said = JSON.stringify({ differences, peers, reasons });
      throw new Error(`verify says ${exitCode} on ${daemon.name} for ${VERIFY_WITHIN_MS} ms: ${said}`);
    }
    await pause(VERIFY_EVERY_MS);
  }
}
