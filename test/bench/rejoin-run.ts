/** What it costs two nodes to find out that they are equal, or what differs: bytes on the cable until proven. */
import { setTimeout as pause } from 'node:timers/promises';
import { generate } from '../lab/background-flows.js';
import { eventually } from '../lab/deadline.js';
import { FirewallPair } from '../lab/firewall-pair.js';
import { SYNC_PORT } from '../lab/lab-daemon.js';
import { linkBytes } from './link-bytes.js';

export interface RejoinSizes {
  readonly flows: number;
  /** Flows that differ, at random. */
  readonly differences: number;
}

/** Bytes of both directions, heartbeats included, and milliseconds. */
export interface RejoinResult {
  readonly cutBytes: number;
  readonly restartBytes: number;
  readonly repairBytes: number;
  readonly repairMs: number;
  readonly bulkBytes: number;
}

const PROVEN_WITHIN_MS = 120_000;
/** Longer than a peer takes to count as gone. */
const CUT_MS = 6000;
const POLL_MS = 20;
/** The repair's noise: enough flows that come and go to push everything out of the ring of sent frames. */
const NOISE_FLOWS = 200_000;
/**
 * A stream frame's class is the second byte after the key id, which follows the array's head (1 byte), the version (1),
 * cluster "lab" (4), node "fw1" (4) and the incarnation (18): byte 29 of the payload, 37 of the UDP datagram.
 */
const CLASS_BIT = (8 + 29) * 8;
const DEAF = `table inet bench { chain in { type filter hook input priority -400;
  iifname "sync" udp dport ${SYNC_PORT} @th,${CLASS_BIT},8 0 counter drop; }
}`;

class Rejoin {
  constructor(
    private readonly pair: FirewallPair,
    private readonly say: (text: string) => void,
  ) {}

  /** Bytes and time until both replicas are proven again after `disturb` said that it is done. */
  async cost(what: string, disturb: () => Promise<void>): Promise<{ bytes: number; ms: number }> {
    this.say(`conntwin: ${what}`);
    const before = await linkBytes(this.pair.lab);
    const start = performance.now();
    await disturb();
    await this.proven();
    return { bytes: (await linkBytes(this.pair.lab)) - before, ms: performance.now() - start };
  }

  /** Each node says of its replica of the other that it is proven, at what was sent last. */
  private async proven(): Promise<void> {
    const { fw1, fw2 } = this.pair;
    await eventually(
      'both replicas are proven',
      { withinMs: PROVEN_WITHIN_MS, everyMs: POLL_MS },
      async () => {
        const [one, two] = [await fw1.status(), await fw2.status()];
        const pairs = [
          [one, two],
          [two, one],
        ];
        return pairs.every(([here, there]) =>
          here.replicas.some(
            (r) => r.incarnation === there.incarnation && r.inSync && r.flows === there.mirror.flows,
          ),
        );
      },
    );
  }
}

/** Fills a pair and measures a cut, a restart of the active node's daemon, a repair and a full bulk. */
export async function measureRejoin(
  { flows, differences }: RejoinSizes,
  say: (text: string) => void,
): Promise<RejoinResult> {
  const pair = await FirewallPair.create({ flows: flows + NOISE_FLOWS });
  const { lab, fw1, fw2 } = pair;
  const rejoin = new Rejoin(pair, say);
  try {
    say(`conntwin: ${flows} flows`);
    await generate(lab, 'fw1', 'create', flows);
    await pair.verified(PROVEN_WITHIN_MS);
    await lab.cutSync('fw1');
    await pause(CUT_MS);
    const cut = await rejoin.cost('the cable is back', () => lab.mendSync('fw1'));
    await fw1.kill();
    const restart = await rejoin.cost('the active daemon starts anew', () => fw1.start());
    say(`conntwin: ${differences} differences behind a deaf link`);
    await lab.exec('fw2', ['nft', '-f', '-'], { input: DEAF });
    for (let i = 0; i < differences; i++) {
      await generate(lab, 'fw1', 'update', 1, { first: Math.floor(((i + 0.5) * flows) / differences) });
    }
    await generate(lab, 'fw1', 'create', NOISE_FLOWS, { first: flows });
    await generate(lab, 'fw1', 'delete', NOISE_FLOWS, { first: flows });
    await pause(CUT_MS);
    const repair = await rejoin.cost('repair', async () => {
      await lab.exec('fw2', ['nft', 'delete', 'table', 'inet', 'bench']);
    });
    await fw2.kill();
    const bulk = await rejoin.cost('full bulk', () => fw2.start());
    await pair.verified(PROVEN_WITHIN_MS);
    return {
      cutBytes: cut.bytes,
      restartBytes: restart.bytes,
      repairBytes: repair.bytes,
      repairMs: repair.ms,
      bulkBytes: bulk.bytes,
    };
  } finally {
    await pair.close();
  }
}
