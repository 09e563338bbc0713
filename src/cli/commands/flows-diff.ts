/** `conntwin flows diff`. */
import type { Command } from 'commander';
import { ControlError } from '../../control/backend.js';
import type { ControlClient } from '../../control/client.js';
import type { StatusReport } from '../../control/messages.js';
import type { CommandContext } from '../context.js';
import type { Comparison } from '../flow-comparison.js';
import { whereOf, withWhere } from '../flow-query.js';
import { socketPath } from '../options.js';
import { pause } from '../screen.js';
import { grouped } from '../terminal.js';

const EXIT_DIFFERENT = 1;
const EXIT_NOT_PROVABLE = 3;
/** How long proofs may take: a MARK stands every second, and a repair some. Milliseconds. */
const PROOF_MAX_MS = 5000;
const PROOF_LOOK_MS = 100;
/** Differences that are printed for people; --json has all that are named. */
const SHOWN = 20;

const EXAMPLES = `
What is compared, each with its verdict:
  this node's mirror with the replica that PEER has of it   (PEER's own verdict, by digest)
  PEER's mirror with the replica of it here                 (this node's verdict, by digest)
  the replica of PEER with this node's kernel               (standby: hot, on the backup: flow by flow)
A digest tells that something differs and not what. With --peer-socket the flows themselves are compared and named:
ssh can bring the socket of PEER's daemon here. What differs is looked at twice, so that flows on their way do not count.

Exit code 0: no difference; 1: some, which are named; 3: not provable (silent, suspect, joining).

Examples:
  conntwin flows diff fw2
  ssh -fN -L /tmp/fw2.sock:/run/conntwin/control.sock fw2; conntwin flows diff fw2 --peer-socket /tmp/fw2.sock
  conntwin flows diff fw2 --peer-socket /tmp/fw2.sock --where 'dport=443' --json
`;

interface Options {
  peerSocket?: string;
  where?: string;
}

export function addFlowsDiff(flows: Command, context: CommandContext): void {
  withWhere(flows.command('diff'))
    .description('what differs between this node and a peer')
    .argument('<peer>', "the peer's name: conntwin status lists them")
    .option('--peer-socket <path>', "control socket of the peer's daemon, brought here by ssh -L", socketPath)
    .addHelpText('after', EXAMPLES)
    .action((peer: string, options: Options) => diff(context, peer, options));
}

async function diff(context: CommandContext, peer: string, options: Options): Promise<void> {
  const where = await whereOf(options.where);
  if (where !== undefined && (where.shownFields.length > 0 || where.needsOwner)) {
    throw new ControlError(
      'invalid',
      '--where: only what both tables have can be asked for: no counters, no owner',
    );
  }
  const comparisons: Comparison[] = [];
  await context.withDaemon(async (client) => {
    const status = await proven(client, peer);
    if (options.peerSocket === undefined) {
      comparisons.push(theirVerdict(status, peer), ourVerdict(status, peer));
      if (isFollowing(status, peer))
        comparisons.push(await withKernel(client, peer, status.node, where?.text));
      return;
    }
    const { ControlClient } = await import('../../control/client.js');
    const other = await ControlClient.connect(options.peerSocket);
    try {
      comparisons.push(...(await withPeer(client, other, peer, status, where?.text)));
    } finally {
      other.close();
    }
  });
  const verdicts = comparisons.map(({ verdict }) => verdict);
  if (verdicts.includes('different')) context.exitCode = EXIT_DIFFERENT;
  else if (verdicts.includes('not provable')) context.exitCode = EXIT_NOT_PROVABLE;
  await (context.isJson
    ? context.json({ peer, exitCode: context.exitCode, comparisons })
    : context.terminal.out(comparisons.map(comparisonText).join('')));
}

const isFollowing = ({ role, standby }: StatusReport, peer: string): boolean =>
  role === 'backup' && standby.mode === 'hot' && standby.source === peer;

/** The status once both replicas are proven for what stood when this was asked, or time is over. */
async function proven(client: ControlClient, name: string): Promise<StatusReport> {
  const end = performance.now() + PROOF_MAX_MS;
  const asked = await client.status();
  const { sequence } = asked.mirror;
  for (let status = asked; ; status = await client.status()) {
    const peer = status.peers.find(({ node }) => node === name);
    if (peer === undefined) {
      const known = status.peers.map(({ node }) => node).join(', ') || 'none so far';
      throw new ControlError('invalid', `no peer is called ${JSON.stringify(name)}: there is ${known}`);
    }
    const isSettled = peer.alive && peer.appliedSequence >= sequence && peer.verdict === 'proven';
    const isOver = !peer.alive || performance.now() > end;
    if (isOver || (isSettled && replicaOf(status, name)?.inSync === true)) return status;
    await pause(PROOF_LOOK_MS, new AbortController().signal);
  }
}

const replicaOf = (status: StatusReport, name: string) => status.replicas.find(({ node }) => node === name);

function verdictOf(what: string, word: string, flows: number, detail: string): Comparison {
  const verdict = word === 'proven' ? 'equal' : word === 'diverged' ? 'different' : 'not provable';
  return { what, verdict, flows, differences: [], more: 0, detail: verdict === 'equal' ? '' : detail };
}

function theirVerdict(status: StatusReport, name: string): Comparison {
  const {
    alive = false,
    verdict = '',
    appliedSequence = 0,
  } = status.peers.find(({ node }) => node === name) ?? {};
  const word = alive ? verdict : 'silent';
  const at = `at ${appliedSequence} of ${status.mirror.sequence}`;
  return verdictOf(
    `mirror here, replica on ${name}`,
    word,
    status.mirror.flows,
    `${name} says ${word || 'nothing'}, ${at}`,
  );
}

function ourVerdict(status: StatusReport, name: string): Comparison {
  const isAlive = status.peers.some(({ node, alive }) => node === name && alive);
  const replica = replicaOf(status, name);
  const what = `mirror on ${name}, replica here`;
  if (replica === undefined) return verdictOf(what, 'none', 0, 'there is no replica of it here');
  const isProven = replica.inSync && isAlive;
  return verdictOf(
    what,
    isProven ? 'proven' : 'suspect',
    replica.flows,
    isAlive ? 'the replica is not proven' : `${name} is silent`,
  );
}

/** The replica of the peer, and what this node's kernel holds of it. */
async function withKernel(
  client: ControlClient,
  peer: string,
  node: string,
  where: string | undefined,
): Promise<Comparison> {
  const { compareSides } = await import('../flow-comparison.js');
  const only = where === undefined ? '' : ` and (${where})`;
  const replica = {
    client,
    table: 'external',
    node: peer,
    ...(where === undefined ? {} : { where }),
  } as const;
  const kernel = { client, table: 'kernel', node: '', where: `held and node="${peer}"${only}` } as const;
  return compareSides(`replica of ${peer} on ${node}, kernel of ${node}`, replica, kernel);
}

/** Flow by flow, in both directions. */
async function withPeer(
  client: ControlClient,
  other: ControlClient,
  peer: string,
  status: StatusReport,
  where: string | undefined,
): Promise<Comparison[]> {
  const theirs = await other.status();
  if (theirs.node !== peer) {
    throw new ControlError('invalid', `--peer-socket: there answers ${theirs.node}, not ${peer}`);
  }
  const { compareSides } = await import('../flow-comparison.js');
  const only = where === undefined ? {} : { where };
  const mirror = (of: ControlClient) => ({ client: of, table: 'internal', node: '', ...only }) as const;
  const replica = (on: ControlClient, node: string) =>
    ({ client: on, table: 'external', node, ...only }) as const;
  return [
    await compareSides(`mirror here, replica on ${peer}`, mirror(client), replica(other, status.node)),
    await compareSides(`mirror on ${peer}, replica here`, mirror(other), replica(client, peer)),
    ...(isFollowing(status, peer) ? [await withKernel(client, peer, status.node, where)] : []),
    ...(isFollowing(theirs, status.node) ? [await withKernel(other, status.node, peer, where)] : []),
  ];
}

function comparisonText({ what, verdict, flows, differences, more, detail }: Comparison): string {
  const count = differences.length + more;
  const found = count === 0 ? '' : `, ${grouped(count)} ${count === 1 ? 'difference' : 'differences'}`;
  const head = `${what}: ${verdict.toUpperCase()}${found} (${grouped(flows)} flows)${detail === '' ? '' : `: ${detail}`}`;
  const lines = differences.slice(0, SHOWN).map(({ kind, flow }) => `  ${kind}: ${flow}`);
  if (count > SHOWN) lines.push(`  ... and ${grouped(count - SHOWN)} more`);
  return `${[verdict === 'equal' ? head.replace('EQUAL', 'equal') : head, ...lines].join('\n')}\n`;
}
