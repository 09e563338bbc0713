/** Failovers by command: the lab moves the addresses, and the roles are set through the control socket. */
import { FirewallPair } from '../firewall-pair.js';
import type { LabDaemon } from '../lab-daemon.js';
import { Failovers } from './failovers.js';
import { TRAFFIC_LAB } from './traffic-lab.js';

export type CommandWay =
  /** keepalived moves the addresses, then the old primary hears "backup", then the new one "primary". */
  | 'planned, backup line first'
  /** The same, with the lines in the other order. */
  | 'planned, primary line first'
  /** All cables of the primary are cut; it believes that it is primary until they are mended. */
  | 'cables cut'
  /** The primary's daemon is killed, and comes back later, with its kernel table as it was. */
  | 'daemon killed';

/** Two firewalls with daemons, which run, and the addresses of all traffic. */
export async function startPair(isHot = false): Promise<Failovers<CommandWay>> {
  const config = isHot ? { failover: { standby: 'hot' } } : {};
  return new CommandFailovers(await FirewallPair.create({ ...TRAFFIC_LAB, config }), isHot);
}

class CommandFailovers extends Failovers<CommandWay> {
  constructor(pair: FirewallPair, isHot: boolean) {
    super(pair, pair.fw1, pair.fw2, isHot);
  }

  protected override async change(way: CommandWay, old: LabDaemon, next: LabDaemon): Promise<void> {
    const { lab } = this.pair;
    if (way === 'cables cut') await Promise.all([lab.cut(old.name), lab.cutSync(old.name)]);
    else if (way === 'daemon killed') await old.kill();
    await lab.activate(next.name);
    if (way === 'planned, backup line first') await old.failover('backup');
    await next.failover('primary');
    if (way === 'planned, primary line first') await old.failover('backup');
  }

  override async back(way: CommandWay): Promise<void> {
    const { lab } = this.pair;
    const { standby } = this;
    if (way === 'cables cut') await Promise.all([lab.mend(standby.name), lab.mendSync(standby.name)]);
    else if (way === 'daemon killed') await standby.start();
    else return;
    await standby.failover('backup');
    await this.heard();
  }
}
