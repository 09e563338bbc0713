/** Real connections through the firewall and its SNAT: the CPU of both nodes' daemons for each, from first packet to last event. */
import { Lab } from '../../lab/lab.js';
import { program } from '../../lab/program.js';
import type { ConversationReport } from '../conversations.js';
import { CpuMeter } from '../cpu-meter.js';
import type { Figure, Side, Values } from '../figure.js';
import { linkTraffic } from '../link-bytes.js';
import { contenderOf, type Part, type Say, type Sizes } from '../part.js';
import { settled } from '../settling.js';

const PROGRAM = 'test/bench/conversations-program';
const CPU_RATIO = 0.4;
/** Half a round trip in a data centre, and across a country. Milliseconds. */
const NEAR_MS = 0.5;
const FAR_MS = 10;
const WARM_PER_SECOND = 5000;
const WARM_SECONDS = 3;
/**
 * The ends' own kernels know nothing of these connections and would answer with RST and ICMP: they never see them, but
 * count them.
 */
const DEAF = `table inet bench { chain in { type filter hook prerouting priority -300;
  iifname "eth0" meta l4proto { tcp, udp } counter drop; }
}`;

interface Load {
  readonly id: string;
  readonly protocol: 'tcp' | 'udp';
  readonly perSecond: number;
  readonly halfTripMs: number;
}

function loads({ connectionRates }: Sizes): Load[] {
  const middle = connectionRates[Math.floor(connectionRates.length / 2)];
  return [
    ...connectionRates.map((perSecond): Load => {
      return { id: `tcp.${perSecond}`, protocol: 'tcp', perSecond, halfTripMs: NEAR_MS };
    }),
    { id: 'tcp.far', protocol: 'tcp', perSecond: middle, halfTripMs: FAR_MS },
    { id: 'udp', protocol: 'udp', perSecond: middle, halfTripMs: NEAR_MS },
  ];
}

function figures(sizes: Sizes): Figure[] {
  return loads(sizes).flatMap(({ id, protocol, perSecond, halfTripMs }): Figure[] => {
    const what = `${protocol.toUpperCase()} at ${perSecond}/s, round trip ${halfTripMs * 2} ms`;
    const detail = { digits: 1, isDetail: true };
    return [
      {
        id: `${id}.cpu`,
        name: `CPU per real connection, both nodes: ${what}`,
        unit: 'us',
        digits: 1,
        ...(protocol === 'tcp' ? { target: { ratio: CPU_RATIO } } : {}),
      },
      { ...detail, id: `${id}.active`, name: `of that the active node: ${what}`, unit: 'us' },
      { ...detail, id: `${id}.bytes`, name: `bytes on the link per connection: ${what}`, unit: 'bytes' },
      { ...detail, id: `${id}.rate`, name: `connections per second: ${what}`, unit: '', digits: 0 },
      { ...detail, id: `${id}.whole`, name: `connections that opened and closed: ${what}`, unit: '%' },
    ];
  });
}

async function measure(side: Side, sizes: Sizes, say: Say): Promise<Values> {
  const most = Math.max(...sizes.connectionRates) * sizes.seconds;
  const lab = await Lab.create({ flows: most });
  try {
    for (const end of ['client', 'server'] as const) await lab.exec(end, ['nft', '-f', '-'], { input: DEAF });
    const contender = contenderOf(side, lab);
    await contender.start();
    const meter = new CpuMeter(() => contender.pids());
    const wait = () => settled(lab, contender.pids());
    const run = new ConnectionRun(lab, meter, wait);
    say('warm-up');
    const warm: Load = { id: '', protocol: 'tcp', perSecond: WARM_PER_SECOND, halfTripMs: NEAR_MS };
    await run.of(warm, WARM_PER_SECOND * Math.min(WARM_SECONDS, sizes.seconds));
    const values: Record<string, number> = {};
    for (const load of loads(sizes)) {
      say(`${load.protocol}, ${load.perSecond} connections/s`);
      Object.assign(values, await run.of(load, load.perSecond * sizes.seconds));
    }
    await contender.stop();
    return values;
  } finally {
    await lab.close();
  }
}

class ConnectionRun {
  private first = 0;

  constructor(
    private readonly lab: Lab,
    private readonly meter: CpuMeter,
    private readonly wait: () => Promise<unknown>,
  ) {}

  /** Has the connections, ends what their timers would end two minutes later, and says what they cost. */
  async of({ id, protocol, perSecond, halfTripMs }: Load, count: number): Promise<Record<string, number>> {
    const { lab, meter } = this;
    const before = await linkTraffic(lab);
    meter.lap();
    const ends = (['client', 'server'] as const).map((end) => lab.namespace(end));
    const numbers = [count, this.first, perSecond, halfTripMs].map(String);
    const argv = [...program(PROGRAM), protocol, ...ends, ...numbers];
    const report = JSON.parse(await lab.exec('fw1', argv)) as ConversationReport;
    this.first += report.conversations;
    const whole = await this.whole(protocol);
    await lab.exec('fw1', ['conntrack', '-F']);
    await this.wait();
    const spent = meter.lap();
    const after = await linkTraffic(lab);
    if (whole === 0) throw new Error(`no ${protocol} connection got through the firewall`);
    return {
      [`${id}.cpu`]: spent.reduce((sum, { total }) => sum + total, 0) / whole,
      [`${id}.active`]: spent[0].total / whole,
      [`${id}.bytes`]: (after.bytes - before.bytes) / whole,
      [`${id}.rate`]: report.perSecond,
      [`${id}.whole`]: (whole / report.conversations) * 100,
    };
  }

  /** Connections that the firewall's kernel saw through: TCP assured and closed at both ends, UDP answered. */
  private async whole(protocol: Load['protocol']): Promise<number> {
    const filter =
      protocol === 'tcp' ? ['--state', 'TIME_WAIT', '--status', 'ASSURED'] : ['--status', 'SEEN_REPLY'];
    const script = 'conntrack -L -o id -p "$@" 2>/dev/null | wc -l';
    return Number(await this.lab.exec('fw1', ['sh', '-c', script, 'sh', protocol, ...filter]));
  }
}

export const CONNECTIONS: Part = {
  name: 'connections',
  about: 'real TCP and UDP through SNAT: CPU of both nodes for each connection, at several rates',
  sides: ['conntrackd', 'conntwin'],
  quickRounds: 1,
  figures,
  measure,
};
