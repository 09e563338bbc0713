/** What happens to peers, in the log. */
import type { Log } from '../flow/log.js';
import type { PeerEvent, PeerEventType, PeerStatus } from '../replication/ports.js';
import type { FlowTable } from '../table/flow-table.js';

/** What is not `info`: trouble, and steps of a takeover that only its debugging asks for. */
const LEVELS: Partial<Record<PeerEventType, 'debug' | 'warn'>> = {
  silent: 'warn',
  refused: 'warn',
  diverged: 'warn',
  declared: 'debug',
  yielded: 'debug',
};

/** Logs an event with what this node knows of the peer and holds for it. */
export function logPeer(
  log: Log,
  { type, node, owner }: PeerEvent,
  peers: readonly PeerStatus[],
  table: FlowTable,
): void {
  const peer = peers.find((each) => each.owner === owner);
  const about = peer && {
    role: peer.role,
    term: peer.term,
    flows: table.countOf(owner),
    sequence: peer.receivedSequence,
    replica: peer.myVerdict,
  };
  log(LEVELS[type] ?? 'info', `peer: ${type}`, { peer: node, ...about });
}
