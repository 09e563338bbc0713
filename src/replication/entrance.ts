/**
 * What a datagram has to pass before anything else sees it: its head must be a frame of this cluster in a version
 * that is read here, it must open with its sender's key, and it must not come under this node's own name.
 */
import { type ControlMessage, OWN_VERSIONS } from '../wire/control-messages.js';
import { CLASS_STREAM, FrameReader } from '../wire/frame.js';
import { CONTROL_HELLO, CONTROL_WELCOME } from '../wire/ops.js';
import type { Join } from './join.js';
import { KeyRing } from './key-ring.js';
import type { Peer } from './peer.js';
import type { Self } from './self.js';

/** Time between two log lines about the same trouble on the link, which may last for days. Milliseconds. */
const ALARM_INTERVAL_MS = 60_000;
/** Time between two looks at the names of other clusters. Milliseconds. */
const FOREIGN_LOOK_MS = 1000;
/** Versions that have a counter of their own when they are refused; the names of counters are bounded. */
const VERSIONS_COUNTED = 9;

/** Trouble that is said in the log, at most once in ALARM_INTERVAL_MS each. */
type Alarm = 'name' | 'version' | 'seal' | 'cluster';

export class Entrance {
  /** The frame that was let in last. */
  readonly frame: FrameReader;
  /** When another daemon with this node's name was last proven to live. */
  namesakeAt = Number.NEGATIVE_INFINITY;
  /** When a frame last came that no key of this node opens. */
  unopenedAt = Number.NEGATIVE_INFINITY;
  /** When a frame of another cluster last came while no peer was heard, and that cluster's name. */
  otherClusterAt = Number.NEGATIVE_INFINITY;
  otherCluster = '';
  /** When a frame or message of a version that is not read here last came, and the version. */
  otherVersionAt = Number.NEGATIVE_INFINITY;
  otherVersion = 0;
  readonly #self: Self;
  readonly #join: Join;
  readonly #isNew: (peer: Peer, sequence: number) => boolean;
  readonly #keys: KeyRing;
  readonly #alarmedAt: Record<Alarm, number> = {
    name: Number.NEGATIVE_INFINITY,
    version: Number.NEGATIVE_INFINITY,
    seal: Number.NEGATIVE_INFINITY,
    cluster: Number.NEGATIVE_INFINITY,
  };

  /** `isNew`: whether a stream frame of a peer is one to look into. */
  constructor(self: Self, join: Join, cluster: string, isNew: (peer: Peer, sequence: number) => boolean) {
    this.#isNew = isNew;
    this.#self = self;
    this.#join = join;
    this.frame = new FrameReader(cluster);
    this.#keys = new KeyRing(self.ports.cipher);
  }

  /** True if `frame` is now an opened frame of another node; else what it was is counted. */
  admit(u8: Uint8Array, from: number, to: number, now: number): boolean {
    const { frame } = this;
    const self = this.#self;
    const { counters } = self.ports;
    const refusal = frame.read(u8, from, to);
    if (refusal !== undefined) {
      if (refusal === 'frame.version') this.#refuseVersion(refusal, frame.version, now);
      else counters.count(refusal);
      if (refusal === 'frame.cluster') this.#refuseCluster(now);
      return false;
    }
    if (self.isMine(frame)) {
      counters.count('frame.own');
      return false;
    }
    const peer = self.peerOf(frame);
    if (peer !== undefined && frame.frameClass === CLASS_STREAM && !this.#isNew(peer, frame.counter)) {
      // What was resent for others, or came on two links: opening it would cost more than it is worth.
      counters.count('stream.duplicate');
      return false;
    }
    const unopened = this.#keys.open(frame, peer, now);
    if (unopened !== undefined) {
      this.#refuseSeal(unopened, now);
      return false;
    }
    if (!self.isMyName(frame)) return true;
    this.#namesake(now);
    return false;
  }

  /** The message in the control frame that was let in; or undefined, and the reason was counted. */
  decode(now: number): ControlMessage | undefined {
    const { frame } = this;
    const { codec, ports } = this.#self;
    const message = codec.decode(frame.payload.subarray(frame.payloadAt, frame.payloadEnd));
    if (typeof message !== 'string') return message;
    if (message === 'control.version') this.#refuseVersion(message, codec.refusedVersion, now);
    else ports.counters.count(message);
    return undefined;
  }

  /** True at most once in ALARM_INTERVAL_MS: an alarm is to be said. */
  #isAlarmDue(alarm: Alarm, now: number): boolean {
    if (now - this.#alarmedAt[alarm] < ALARM_INTERVAL_MS) return false;
    this.#alarmedAt[alarm] = now;
    return true;
  }

  #refuseVersion(reason: string, version: number, now: number): void {
    const { counters, log } = this.#self.ports;
    counters.count(`${reason}-${version <= VERSIONS_COUNTED ? version : 'more'}`);
    this.otherVersion = version;
    this.otherVersionAt = now;
    if (!this.#isAlarmDue('version', now)) return;
    const [low, high] = OWN_VERSIONS;
    log('warn', 'a node speaks a version that this one does not read', { version, low, high });
  }

  /** Two clusters may share a network. Only where nobody of this one is heard, its name may be mistyped. */
  #refuseCluster(now: number): void {
    if (now - this.otherClusterAt < FOREIGN_LOOK_MS || this.#self.peers.some((p) => p.isAlive)) return;
    this.otherClusterAt = now;
    this.otherCluster = this.frame.otherCluster();
    if (!this.#isAlarmDue('cluster', now)) return;
    this.#self.ports.log(
      'warn',
      'frames of another cluster come, and no peer: is node.cluster the same on all?',
      {
        cluster: this.otherCluster,
      },
    );
  }

  #refuseSeal(reason: string, now: number): void {
    const { counters, log } = this.#self.ports;
    counters.count(reason);
    this.unopenedAt = now;
    if (!this.#isAlarmDue('seal', now)) return;
    log('warn', 'a frame on the link was not opened: have all nodes the same keys?', { reason });
  }

  /**
   * A frame of another run under this node's name: an old one that somebody captured, or a second daemon. Nothing of
   * it is believed; only that it lives, if it answers a nonce.
   */
  #namesake(now: number): void {
    const { frame } = this;
    const { counters, log } = this.#self.ports;
    counters.count('frame.own-name');
    const message = frame.frameClass === CLASS_STREAM ? undefined : this.decode(now);
    const hello = message?.type === CONTROL_HELLO ? message : undefined;
    this.#join.hearNamesake(hello, frame, now);
    if (message?.type !== CONTROL_WELCOME) return;
    if (this.#join.nonceAnswered(message, now) === undefined) return;
    this.namesakeAt = now;
    counters.count('join.own-name-in-use');
    if (!this.#isAlarmDue('name', now)) return;
    log('error', 'another daemon uses the name of this node', { node: this.#self.node });
  }
}
