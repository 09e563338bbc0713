/** The gate's table in this network namespace: it belongs to this socket, and vanishes with it (F9). */
import { EINVAL, ENOENT, EPERM, pinnedBytes } from '../../native/libc.js';
import { NetlinkSocket } from '../../native/netlink-socket.js';
import { SystemError } from '../../native/system-error.js';
import { NLA_F_NESTED, NLMSG_ERROR } from './enums.js';
import { counterRequest, type GateOptions, makeGate, removeGate } from './gate-rules.js';
import { NetAdminMissingError } from './kernel-error.js';
import type { NfTablesBatch } from './nf-tables-batch.js';
import * as N from './nf-tables-enums.js';

const ANSWER_MAX_BYTES = 8192;
const NLMSG_HEADER_BYTES = 16;
const HEADER_BYTES = 20; // struct nlmsghdr and struct nfgenmsg
const COUNTER_TYPE = (N.NFNL_SUBSYS_NFTABLES << 8) | N.NFT_MSG_NEWOBJ;
const EOPNOTSUPP = 95; // asm-generic/errno.h, as the next one
const EEXIST = 17;

const SEND = 'send a change to nf_tables';

/** Told how a change went: undefined if it was carried out. */
export type Changed = (problem: SystemError | undefined) => void;

const OTHER_HOLDER = 'another program holds a gate in this network namespace, stop it (a second daemon?)';
const TOO_OLD =
  'this kernel cannot (Linux 5.12 with nf_tables and nft_fib_inet is needed), write `gate: none`';
const ADVICE: Readonly<Record<number, string>> = {
  [EEXIST]: OTHER_HOLDER,
  [EPERM]: OTHER_HOLDER,
  [EOPNOTSUPP]: TOO_OLD,
  [ENOENT]: TOO_OLD,
  [EINVAL]: TOO_OLD,
};

/** Without the right the kernel refuses the begin of a batch, and a table that is another socket's at its message. */
function problemOf(operation: string, errno: number, isBegin: boolean): SystemError {
  if (errno === EPERM && isBegin) return new NetAdminMissingError(operation, errno);
  const advice = ADVICE[errno];
  return new SystemError(operation, errno, advice === undefined ? {} : { advice });
}

/** Makes and removes the table. One change at a time; threads of the pool wait for the lock of the ruleset. */
export class GateTable {
  readonly #socket: NetlinkSocket;
  readonly #answer = pinnedBytes(ANSWER_MAX_BYTES);
  readonly #view = new DataView(this.#answer.buffer);
  readonly #raise: NfTablesBatch;
  readonly #remove: NfTablesBatch;
  readonly #raiseBytes: Uint8Array;
  readonly #removeBytes: Uint8Array;
  readonly #countBytes: Uint8Array;

  /** Opens the socket and writes the messages; nothing is in the kernel yet. Throws SystemError. */
  constructor(options: GateOptions, raisedMs: number) {
    this.#raise = makeGate(options, raisedMs);
    this.#remove = removeGate();
    this.#raiseBytes = this.#raise.end();
    this.#removeBytes = this.#remove.end();
    this.#countBytes = counterRequest();
    this.#socket = new NetlinkSocket();
    try {
      this.#try(options);
    } catch (error) {
      this.#socket.close();
      throw error;
    }
  }

  /** Makes the table as one that drops nothing, and removes it: what the kernel lacks is known, what it loads is loaded. */
  #try(options: GateOptions): void {
    const idle = makeGate(options, 0);
    const bytes = idle.end();
    for (const [batch, message] of [
      [idle, bytes],
      [this.#remove, this.#removeBytes],
    ] as const) {
      const sent = this.#socket.send(message, message.length);
      const problem = sent < 0 ? new SystemError(SEND, -sent) : this.#outcome(batch);
      if (problem !== undefined) throw problem;
    }
  }

  /** Makes the table; it drops from then on, for `raisedMs` at most. */
  raise(done: Changed): void {
    this.#change(this.#raise, this.#raiseBytes, done);
  }

  remove(done: Changed): void {
    this.#change(this.#remove, this.#removeBytes, done);
  }

  #change(batch: NfTablesBatch, bytes: Uint8Array, done: Changed): void {
    this.#socket.sendInPool(bytes, bytes.length, (isSent) => {
      const problem = this.#outcome(batch);
      done(isSent ? problem : (problem ?? new SystemError(SEND, EINVAL)));
    });
  }

  /** Reads the answers to a batch: the first error, or undefined when it was acknowledged. */
  #outcome(batch: NfTablesBatch): SystemError | undefined {
    let problem: SystemError | undefined;
    let isAnswered = false;
    for (;;) {
      const length = this.#socket.receive(this.#answer);
      if (length < 0) break;
      for (let at = 0; at + HEADER_BYTES <= length; ) {
        const bytes = this.#view.getUint32(at, true);
        if (bytes < NLMSG_HEADER_BYTES) break;
        if (this.#view.getUint16(at + 4, true) === NLMSG_ERROR) {
          const errno = -this.#view.getInt32(at + NLMSG_HEADER_BYTES, true);
          const sequence = this.#view.getUint32(at + 8, true);
          if (errno !== 0) problem ??= problemOf(batch.label(sequence), errno, sequence === 0);
          isAnswered = true;
        }
        at += (bytes + 3) & ~3;
      }
    }
    return isAnswered ? problem : problemOf('read the answer of nf_tables', EINVAL, false);
  }

  /** Packets dropped by the table that is there; 0 if there is none. */
  dropped(): number {
    if (this.#socket.send(this.#countBytes, this.#countBytes.length) < 0) return 0;
    const length = this.#socket.receive(this.#answer);
    if (length < HEADER_BYTES || this.#view.getUint16(4, true) !== COUNTER_TYPE) return 0;
    const data = this.#find(N.NFTA_OBJ_DATA, HEADER_BYTES, length);
    if (data === undefined) return 0;
    const packets = this.#find(N.NFTA_COUNTER_PACKETS, data.at, data.end);
    return packets === undefined ? 0 : Number(this.#view.getBigUint64(packets.at));
  }

  /** Where the value of the first attribute of this type stands. */
  #find(type: number, from: number, to: number): { at: number; end: number } | undefined {
    for (let at = from; at + 4 <= to; ) {
      const bytes = this.#view.getUint16(at, true);
      if (bytes < 4 || at + bytes > to) return undefined;
      if ((this.#view.getUint16(at + 2, true) & ~NLA_F_NESTED) === type)
        return { at: at + 4, end: at + bytes };
      at += (bytes + 3) & ~3;
    }
    return undefined;
  }

  /** Closes the socket: a table that is still there vanishes. */
  close(): void {
    this.#socket.close();
  }
}
