import type { GateReport, LinkHeard, PeerReport, StatusReport, VrrpReport } from '../control/messages.js';
import { promoteDetails, promoteText, purgeText } from './report-text.js';
import { columns, duration, grouped, size } from './terminal.js';

/** A status as a page that can be read at 3 am: what is wrong comes first. */
export function statusText(status: StatusReport): string {
  const problems = problemsOf(status);
  const verdict = problems.length === 0 ? ['all is well'] : problems.map((problem) => `! ${problem}`);
  const sections = [
    [headline(status), ...verdict],
    columns(tables(status)),
    peerLines(status),
    columns(linkRows(status)),
    lastLines(status),
  ];
  return `${sections
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n')}\n`;
}

/** What an operator should look at, worst first; empty when all is well. */
export function problemsOf(status: StatusReport): string[] {
  const problems: string[] = [];
  const alive = status.peers.filter((peer) => peer.alive);
  if (status.role === 'fault')
    problems.push('this node is in fault: `conntwin failover backup` when it is mended');
  if (status.state !== 'ready') problems.push('joining: flows are not sorted out yet, wait a moment');
  if (!status.mirrorReady) problems.push('the first dump of the kernel is not whole yet');
  if (alive.length === 0) problems.push(`no peer is heard: nothing is replicated${neverHeard(status)}`);
  if (status.state === 'ready' && ![status, ...alive].some(({ role }) => role === 'primary'))
    problems.push('no primary is heard: `conntwin failover primary` on the node that has the addresses');
  for (const peer of status.peers) {
    const isTold = status.warnings.some((warning) => warning.startsWith(`${peer.node} was not heard`));
    if (peer.alive || !isTold) problems.push(...peerProblems(peer));
  }
  for (const { node, inSync } of status.replicas) {
    if (!inSync && alive.some((peer) => peer.node === node))
      problems.push(`the replica of ${node} is not proven`);
  }
  const isWorst = (warning: string) => warning.startsWith('split brain');
  const all = [
    ...status.warnings.filter(isWorst),
    ...problems,
    ...status.warnings.filter((warning) => !isWorst(warning)),
  ];
  // Else it has one of these reasons.
  if (all.length > 0 || status.ready.isReady) return all;
  return [`not ready to take over: ${status.ready.reasons.join('; ')}`];
}

/** What to look at where nobody was heard since the start. */
function neverHeard({ peers, links }: StatusReport): string {
  if (peers.length > 0 || links.length === 0) return '';
  const ports = links.map(({ port, interface: name }) => `${port} on ${name}`).join(', ');
  return `; do the rules let UDP port ${ports} in, and has the other node the same links, cluster and key?`;
}

function peerProblems({ node, alive, proven, verdict }: PeerReport): string[] {
  if (!alive) return [`${node} is silent`];
  if (!proven) return [`${node} has not proven who it is yet`];
  return verdict === 'proven'
    ? []
    : [`${node} has no proven replica of this node (${verdict || 'says nothing'})`];
}

/** Two words for two things: whose the flows are is known, and this node may take over. */
function stateText({ role, state, ready }: StatusReport): string {
  if (state !== 'ready') return `, ${state}`;
  if (role !== 'backup') return '';
  return ready.isReady ? ', ready to take over' : ', NOT ready to take over';
}

function headline(status: StatusReport): string {
  const { node, cluster, role, term, uptimeMs, version, activity, progress } = status;
  const total = progress !== null && progress.total > 0 ? ` of ${grouped(progress.total)}` : '';
  const far = progress === null ? '' : ` (${progress.phase}: ${grouped(progress.done)}${total})`;
  const now = activity === '' ? '' : `, ${activity} runs${far}`;
  return `${node} in ${cluster}: ${role.toUpperCase()}${stateText(status)}${now}  (term ${term}, up ${duration(uptimeMs)}, conntwin ${version})`;
}

function tables({ kernel, mirror, replicas, peers }: StatusReport): string[][] {
  const lost = mirror.eventsLost > 0 ? `${grouped(mirror.eventsLost)} events lost and audited` : '';
  return [
    ['TABLE', 'FLOWS', 'EXPECTED', 'DIGEST', 'SEQUENCE', ''],
    [
      'kernel',
      grouped(kernel.flows),
      '',
      '',
      '',
      kernel.maximum > 0 ? `room for ${grouped(kernel.maximum)}` : '',
    ],
    [
      'mirror',
      grouped(mirror.flows),
      grouped(mirror.expectations),
      mirror.digest,
      String(mirror.sequence),
      lost,
    ],
    ...replicas.map(({ node, flows, expectations, digest, sequence, inSync, held }) => [
      `replica of ${node}`,
      grouped(flows),
      grouped(expectations),
      digest,
      String(sequence),
      `${inSync ? 'in sync' : peers.some((p) => p.node === node && p.alive) ? 'NOT in sync' : 'its node is silent'}${
        held > 0 ? `, ${grouped(held)} in this kernel` : ''
      }`,
    ]),
  ];
}

function peerLines({ peers, mirror }: StatusReport): string[] {
  if (peers.length === 0) return [];
  return columns([
    ['PEER', 'ROLE', 'HEARD', 'SEQUENCE', 'APPLIED OF OURS', 'LAG', 'SAYS OF OURS'],
    ...peers.map((peer) => [
      peer.node,
      peer.role || '?',
      peer.alive ? 'yes' : 'NO',
      String(peer.sequence),
      `${peer.appliedSequence} of ${mirror.sequence}`,
      duration(peer.lagMs),
      peer.verdict || '-',
    ]),
  ]);
}

function linkRows({ links }: StatusReport): string[][] {
  if (links.length === 0) return [];
  return [
    ['LINK', 'STATE', 'FROM', 'TO', 'SENT', 'RECEIVED', 'PEERS'],
    ...links.map((link) => [
      link.interface,
      link.isUp ? (link.isData ? 'data' : 'up') : `DOWN ${link.lastError}`.trimEnd(),
      link.address,
      `${link.group || link.peers.join(', ')} port ${link.port}`,
      `${grouped(link.framesSent)} frames, ${size(link.bytesSent)}`,
      `${grouped(link.framesReceived)} frames, ${size(link.bytesReceived)}`,
      link.heard.map(heardText).join('; '),
    ]),
  ];
}

function heardText({ node, silentMs, hearsUsMs }: LinkHeard): string {
  const ago = (ms: number) => (ms < 0 ? 'never' : `${duration(ms)} ago`);
  return `${node} heard ${ago(silentMs)}, hears us ${ago(hearsUsMs)}`;
}

function purgeLines({ purge }: StatusReport): string[] {
  if (purge.isRunning) return ['a purge runs'];
  return purge.last === null ? [] : [`last purge: ${purgeText(purge.last)}`];
}

function standbyLine({ role, standby }: StatusReport): string {
  const { mode, source, held, waiting, lagMs } = standby;
  if (mode === 'cold') return 'standby cold';
  if (role === 'primary') return 'standby hot (as a backup)';
  if (source === '') return 'standby hot: no primary to follow';
  const open = waiting > 0 ? `${grouped(waiting)} changes wait, for ${duration(lagMs)}` : 'no change waits';
  return `standby hot: the kernel has ${grouped(held)} flows of ${source}, ${open}`;
}

function lastLines(status: StatusReport): string[] {
  const { lastPromote, lastAbsorb, audit, mode, sendKeyId, vrrp, gate, ready } = status;
  const { isRunning, reason, runs, unclean, repaired, lastDurationMs } = audit;
  const what = isRunning ? `${reason} runs; ` : '';
  const found = `${grouped(runs)} so far (${grouped(unclean)} unclean), ${grouped(repaired)} flows put right`;
  const took = runs > 0 ? `, the last took ${duration(lastDurationMs)}` : '';
  const sealed = sendKeyId === 0 ? 'not sealed' : `sealed with key ${sendKeyId}`;
  return [
    `mode ${mode}, ${sealed}`,
    standbyLine(status),
    ...purgeLines(status),
    `last promote: ${lastPromote === null ? 'none since the start' : promoteText(lastPromote)}`,
    ...(lastPromote === null ? [] : promoteDetails(lastPromote).map((line) => `  ${line}`)),
    ...(lastAbsorb === null ? [] : [`last absorb: ${promoteText(lastAbsorb)}`]),
    `audits: ${what}${found}${took}`,
    ...(vrrp === null ? [] : [vrrpLine(vrrp)]),
    ready.isReady ? 'ready to take over' : `NOT ready to take over: ${ready.reasons.join('; ')}`,
    ...(gate.state === 'none' ? [] : [`gate: ${gateText(gate)}`]),
  ];
}

function vrrpLine({ fifo, name, state, isHeld, changes }: VrrpReport): string {
  const said = state === '' ? 'nothing yet' : `${name} ${state} (${grouped(changes)} states so far)`;
  return `keepalived: ${said}, ${isHeld ? 'has' : 'does NOT have'} ${fifo} open`;
}

function gateText({ state, raised, dropped, lastDurationMs }: GateReport): string {
  if (raised === 0) return `${state}, not raised since the start`;
  return `${state}, the last time up for ${duration(lastDurationMs)}, ${grouped(dropped)} packets dropped`;
}
