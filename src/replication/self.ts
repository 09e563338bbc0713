/** This node as its stream shows it, and what all parts of the core share. */
import { NAME_MAX_BYTES } from '../limits.js';
import { ControlCodec, type ControlMessage, OWN_VERSIONS } from '../wire/control-messages.js';
import {
  bytesEqual,
  CLASS_CONTROL,
  encodeName,
  FRAME_VERSION,
  type FrameReader,
  FrameWriter,
  INCARNATION_BYTES,
} from '../wire/frame.js';
import type { Seed } from '../wire/op-writer.js';
import { CONTROL_HEARTBEAT, CONTROL_HELLO, CONTROL_WELCOME } from '../wire/ops.js';
import type { Peer } from './peer.js';
import type { Mode, PeerEventType, ReplicatorOptions, ReplicatorPorts, Role } from './ports.js';

/** Terms above this are refused: a term must stay a number to which one can be added. */
const TERM_MAX = 2 ** 52;
/** UDP over IPv6: what a datagram's headers take of the MTU. Bytes. */
const HEADERS_BYTES = 48;

/** What goes on all links: the link number that `send` takes for that. */
export const ALL_LINKS = -1;
/** The receive buffer that a node without another one says it has. Bytes. */
const RECEIVE_BUFFER_BYTES = 8 << 20;

export class Self {
  readonly ports: ReplicatorPorts;
  readonly node: string;
  readonly nodeBytes: Uint8Array;
  readonly incarnation: Uint8Array;
  readonly bootId: string;
  readonly frames: FrameWriter;
  readonly frameBytes: number;
  /** How many links there are. */
  readonly links: number;
  readonly mode: Mode;
  /** The smallest receive buffer of the links, bytes as the kernel counts them. */
  readonly receiveBufferBytes: number;
  /** The link that data and answers go to. */
  dataLink = 0;
  readonly codec = new ControlCodec();
  readonly startedAt: number;
  /** Peers, proven, one per node name. */
  readonly peers: Peer[] = [];
  /** Former incarnations that were primary and whose kernel is gone: sources of a promote, never dropped. */
  readonly formers: Peer[] = [];

  /** Incarnations whose flows have become this node's own, to be given back; still to be declared. */
  readonly lent: Seed[] = [];
  /** Owners that a promote reads: nothing of them is swept, moved or replaced meanwhile. */
  readonly pinned = new Set<number>();

  /** A node that was primary gives its flows away until then, as the new primary asks for them. */
  handsOverUntil = Number.NEGATIVE_INFINITY;

  role: Role = 'backup';
  /** The role that the stream has told of. */
  statedRole: Role = 'backup';
  term = 0;
  /** The term under which this node was primary last, while nobody has taken that over; else 0. */
  openTenure = 0;
  /** In this run it was taken over: who joins from now on may have inherited that it is open. */
  isTenureOver = false;
  /** A receiver came that may not have heard of it, or it has ended. */
  isTenureSoon = false;
  highestTerm = 0;
  isMirrorReady = false;
  /**
   * Counts frames sent and applied here. Slots carry it as the "sequence" of their last change, so that
   * changes of all owners can be compared with each other, and stay comparable when a slot changes its owner.
   */
  stamp = 0;
  /** Coarse time, seconds, for the slots. */
  seconds = 0;
  isHeartbeatSoon = false;
  /** A MARK is wanted as soon as the queue is empty, not at the end of its interval. */
  isMarkSoon = false;
  #controlCounter = 0;

  /** Throws a RangeError on a bad name, incarnation or MTU. */
  constructor(ports: ReplicatorPorts, options: ReplicatorOptions) {
    if (!(options.mtu >= 1280 && options.mtu <= 9216))
      throw new RangeError(`mtu ${options.mtu}: want 1280..9216`);
    this.ports = ports;
    this.node = options.node;
    this.nodeBytes = encodeName(options.node);
    this.incarnation = options.incarnation.slice();
    this.bootId = options.bootId.slice(0, NAME_MAX_BYTES);
    this.frames = new FrameWriter(options.cluster, options.node, options.incarnation, ports.cipher);
    this.frameBytes = Math.min(options.mtu - HEADERS_BYTES, 9000);
    this.links = options.links ?? 1;
    this.mode = options.mode ?? 'reliable';
    this.receiveBufferBytes = options.receiveBufferBytes ?? RECEIVE_BUFFER_BYTES;
    this.startedAt = ports.now();
  }

  /**
   * Sends a control message; it goes past the stream's window. What strangers must read, and what shows which links
   * are heard, goes on all links in the frame that every version reads; the rest goes where data goes.
   */
  say(message: ControlMessage): void {
    const payload = this.codec.encode(message);
    const { headBytes, tailBytes } = this.frames;
    const length = headBytes + payload.length + tailBytes;
    if (length > this.frameBytes) {
      this.ports.counters.count('control.oversized');
      return;
    }
    const { type } = message;
    const isForAll = type === CONTROL_HELLO || type === CONTROL_WELCOME || type === CONTROL_HEARTBEAT;
    const version = isForAll ? FRAME_VERSION : this.frameVersion;
    const frame = new Uint8Array(length);
    frame.set(payload, headBytes);
    this.frames.finish(frame, CLASS_CONTROL, ++this.#controlCounter, payload.length, version);
    this.ports.send(frame, length, isForAll ? ALL_LINKS : this.dataLink);
  }

  /** The highest version of frames that all live receivers read. */
  get frameVersion(): number {
    let version = OWN_VERSIONS[1];
    for (let i = 0; i < this.peers.length; i++) {
      const peer = this.peers[i];
      if (peer.isAlive && peer.isReceiver) version = Math.min(version, peer.versions[1]);
    }
    return version;
  }

  /** True for a frame of this run: it came back from a loop. */
  isMine(frame: FrameReader): boolean {
    return bytesEqual(frame.u8, frame.incarnationAt, this.incarnation, 0, INCARNATION_BYTES);
  }

  /** True for a frame under this node's name. */
  isMyName(frame: FrameReader): boolean {
    const { nodeBytes } = this;
    if (frame.nodeBytes !== nodeBytes.length) return false;
    return bytesEqual(frame.u8, frame.nodeAt, nodeBytes, 0, nodeBytes.length);
  }

  /** The peer with the node name and the incarnation of a frame. */
  peerOf(frame: FrameReader): Peer | undefined {
    const peers = this.peers;
    for (let i = 0; i < peers.length; i++) {
      const p = peers[i];
      if (p.nodeBytes.length !== frame.nodeBytes) continue;
      if (!bytesEqual(frame.u8, frame.incarnationAt, p.incarnation, 0, INCARNATION_BYTES)) continue;
      if (bytesEqual(frame.u8, frame.nodeAt, p.nodeBytes, 0, frame.nodeBytes)) return p;
    }
    return undefined;
  }

  peerOfNode(node: string): Peer | undefined {
    return this.peers.find((p) => p.node === node);
  }

  /** The peer, or the former incarnation, with this owner number. */
  peerOfOwner(owner: number): Peer | undefined {
    return this.peers.find((p) => p.owner === owner) ?? this.formers.find((p) => p.owner === owner);
  }

  isPinned(owner: number): boolean {
    return this.pinned.has(owner);
  }

  /** Forgets a peer that holds no slot; its owner number is free again. */
  forget(peer: Peer): void {
    this.ports.table.owners.release(peer.owner);
    this.peers.splice(this.peers.indexOf(peer), 1);
  }

  isMe(incarnation: Uint8Array): boolean {
    return bytesEqual(incarnation, 0, this.incarnation, 0, INCARNATION_BYTES);
  }

  /** Remembers a term that somebody showed; false if it is none. */
  seeTerm(term: number): boolean {
    if (term > TERM_MAX) {
      this.ports.counters.count('control.term');
      return false;
    }
    if (term > this.highestTerm) this.highestTerm = term;
    return true;
  }

  tell(type: PeerEventType, peer: Peer): void {
    this.ports.onPeer({ type, node: peer.node, owner: peer.owner });
  }

  /** The replica of this peer is not known to be exact any more; `why` is a counter's name. */
  suspect(peer: Peer, why: string): void {
    this.ports.counters.count(why);
    peer.expectations.isEqual = false;
    if (peer.verdict === 'suspect' || peer.verdict === 'diverged') return;
    peer.verdict = 'suspect';
    peer.verdictAt = peer.applied;
    this.isHeartbeatSoon = true;
    this.tell('suspect', peer);
  }
}
