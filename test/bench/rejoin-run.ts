/** What it costs two nodes to find out that they are equal, or what differs: bytes on the cable until proven. */
import { setTimeout as pause } from 'node:timers/promises';
import type { StatusReport } from '../../src/control/messages.js';
import { GENERATOR_PROGRAM, generate } from '../lab/background-flows.js';
import { eventually } from '../lab/deadline.js';
import { FirewallPair } from '../lab/firewall-pair.js';
import { SYNC_PORT } from '../lab/lab-daemon.js';
import { program } from '../lab/program.js';
import { linkBytes } from './link-bytes.js';

export interface RejoinSizes {
  readonly flows: number;
  /** Flows that differ. */
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
/** Then single flows that come one by one, in a frame each, and go at once: more than the ring has frames. */
const QUIET_FLOWS = 3000;
const QUIET_PER_SECOND = 1000;
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
    const marks = await this.marks();
    await this.proven(marks);
    return { bytes: (await linkBytes(this.pair.lab)) - before, ms: performance.now() - start };
  }

  /** MARKs that have proved a replica so far, in fw1 and in fw2. */
  private async marks(): Promise<readonly number[]> {
    const statuses = [await this.pair.fw1.status(), await this.pair.fw2.status()];
    return statuses.map(({ counters }) => counters['stream.mark-proven'] ?? 0);
  }

  /** Since `marks` were counted each node has proved anew that its replica is what the other has. */
  private async proven(marks: readonly number[]): Promise<void> {
    const { fw1, fw2 } = this.pair;
    await eventually(
      'both replicas are proven',
      { withinMs: PROVEN_WITHIN_MS, everyMs: POLL_MS },
      async () => {
        const now = await this.marks();
        if (now.some((count, i) => count <= marks[i])) return false;
        const [one, two] = [await fw1.status(), await fw2.status()];
        const isProven = (here: StatusReport, there: StatusReport) =>
          here.replicas.some(
            (r) => r.incarnation === there.incarnation && r.inSync && r.flows === there.mirror.flows,
          );
        return isProven(one, two) && isProven(two, one);
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
    // The keyed hash of a flow spreads neighbours over all scopes.
    await generate(lab, 'fw1', 'update', differences);
    await generate(lab, 'fw1', 'create', NOISE_FLOWS, { first: flows });
    await generate(lab, 'fw1', 'delete', NOISE_FLOWS, { first: flows });
    // What the ring holds is sent again before the repair begins: small frames, or the ring is what is measured.
    const quiet = [
      ...program(GENERATOR_PROGRAM),
      'schedule',
      ...[QUIET_FLOWS, flows, QUIET_PER_SECOND].map(String),
    ];
    await lab.exec('fw1', quiet);
    await generate(lab, 'fw1', 'delete', QUIET_FLOWS, { first: flows });
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
