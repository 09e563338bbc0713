/** Failovers by real keepalived processes: nobody but them says who is primary, or moves an address. */
import type { LabDaemon } from '../lab-daemon.js';
import { INSIDE_GATEWAY6, OUTSIDE_ADDRESS6 } from '../ruleset.js';
import { type VrrpFirewall, VrrpPair } from '../vrrp-pair.js';
import { Failovers } from './failovers.js';
import { MASQUERADE_ADDRESSES, TRAFFIC_LAB } from './traffic-lab.js';

export type VrrpWay =
  /** The MASTER's keepalived is stopped as an operator does, and started again later. */
  | 'keepalived stopped'
  /** All cables of the MASTER are cut: its keepalived sees that (FAULT), the other one misses its adverts. */
  | 'cables cut'
  /** The power of the MASTER fails; it comes back with an empty kernel table, and knows nothing. */
  | 'power lost';

/** Two firewalls with daemons and keepaliveds, which run, and the addresses of all traffic. */
export async function startVrrp(isHot = false): Promise<Failovers<VrrpWay>> {
  const pair = await VrrpPair.create({
    ...TRAFFIC_LAB,
    ...(isHot ? { failover: { standby: 'hot' } } : {}),
    keepalived: {
      excluded: {
        inside: [`${INSIDE_GATEWAY6}/64`],
        outside: [`${OUTSIDE_ADDRESS6}/64`, ...MASQUERADE_ADDRESSES],
      },
      // Who comes back waits for the next failover.
      edit: (config) => config.replace(/^(\s*)state BACKUP.*/gm, '$1state BACKUP\n$1nopreempt'),
    },
  });
  try {
    await pair.lab.withdraw('fw1');
    await pair.startInOrder();
  } catch (error) {
    await pair.close();
    throw error;
  }
  return new VrrpFailovers(pair, isHot);
}

class VrrpFailovers extends Failovers<VrrpWay> {
  constructor(
    override readonly pair: VrrpPair,
    isHot: boolean,
  ) {
    super(pair, pair.fw1.daemon, pair.fw2.daemon, isHot);
  }

  protected override async change(way: VrrpWay, old: LabDaemon, next: LabDaemon): Promise<void> {
    const { lab } = this.pair;
    const name = this.nameOf(old);
    const { keepalived } = this.pair[name];
    if (way === 'keepalived stopped') await keepalived.stop();
    else await Promise.all([lab.cut(name), lab.cutSync(name)]);
    if (way === 'power lost') await this.loseAll(this.pair[name]);
    await this.pair.settledRole(this.nameOf(next), 'primary');
  }

  override async back(way: VrrpWay): Promise<void> {
    const { lab } = this.pair;
    const { keepalived, daemon, name } = this.pair[this.nameOf(this.standby)];
    if (way !== 'keepalived stopped') await Promise.all([lab.mend(name), lab.mendSync(name)]);
    if (way === 'power lost') await daemon.start();
    if (way !== 'cables cut') await keepalived.start();
    await this.pair.settled(this.active.name);
  }

  /** Processes, addresses, kernel table and run directory: all that a machine without power does not keep. */
  private async loseAll({ keepalived, daemon, name }: VrrpFirewall): Promise<void> {
    await Promise.all([keepalived.kill(), daemon.kill()]);
    await this.pair.lab.withdraw(name);
    await this.pair.lab.exec(name, ['conntrack', '-F']);
    daemon.forgetState();
  }

  private nameOf(daemon: LabDaemon): 'fw1' | 'fw2' {
    return daemon === this.pair.fw1.daemon ? 'fw1' : 'fw2';
  }
}
