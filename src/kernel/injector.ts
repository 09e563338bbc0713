import { ENOBUFS, pinnedBytes } from '../../native/libc.js';
import { NetlinkSocket } from '../../native/netlink-socket.js';
import { DatagramVector } from '../../native/structs.js';
import type { Counters } from '../flow/counters.js';
import {
  BATCH_STRIDE_BYTES,
  type KernelBatch,
  OP_GET,
  OP_GET_REPLY,
  OP_UPDATE,
} from '../flow/kernel-port.js';
import { copyRecord, type Memory } from '../flow/record.js';
import { CtnetlinkDecoder } from './decode.js';
import { CtnetlinkEncoder, REQUEST_MAX_BYTES } from './encode.js';
import {
  CTA_TUPLE_ORIG,
  CTA_ZONE,
  IPCTNL_MSG_CT_GET_STATS,
  IPCTNL_MSG_CT_NEW,
  NFNL_SUBSYS_CTNETLINK,
  NLM_F_ACK,
  NLM_F_REQUEST,
  NLMSG_ERROR,
} from './enums.js';
import { ExpectationEncoder, type ExpectationVerb } from './expectation-encode.js';

/** Requests in one datagram: with more, error answers would not fit where the receive buffer cannot be forced. */
const MESSAGES_MAX = 128;
/** Room for the encoded requests of one datagram. */
const SEND_BYTES = MESSAGES_MAX * REQUEST_MAX_BYTES;
const ANSWER_MAX_BYTES = 4096;
const ANSWERS_PER_READ = 64;
const RECEIVE_BUFFER_BYTES = 4 << 20;
const NLMSG_HEADER_BYTES = 16;
const FLAGS_AT = 6; // in struct nlmsghdr
const NLMSG_ERROR_BYTES = 20; // struct nlmsghdr and the error number
const FLOW_TYPE = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_NEW;

/**
 * Writes flows to the kernel table, and asks for some: many requests a send, no acknowledgements, every answer read
 * before the next send and matched by sequence number. The kernel works a datagram off in order, before send returns.
 */
export class Injector {
  readonly socket: NetlinkSocket;
  private readonly counters: Counters;
  private readonly decoder: CtnetlinkDecoder;
  private readonly encoder = new CtnetlinkEncoder();
  private readonly expectations = new ExpectationEncoder();
  private readonly out = pinnedBytes(SEND_BYTES);
  private readonly answers = new DatagramVector(ANSWERS_PER_READ, ANSWER_MAX_BYTES);
  private readonly words = new Uint32Array(this.answers.data.buffer);
  private sequence = 1;
  private chunkSequence = 0;
  private chunkFrom = 0;
  private chunkTo = 0;

  private readonly isShown: boolean;

  /**
   * `isShown`: found records carry what is only shown as well (counters, timestamps, security context, use).
   * Throws SystemError: EPROTONOSUPPORT when the kernel has no nfnetlink.
   */
  constructor(counters: Counters, isShown = false) {
    this.counters = counters;
    this.isShown = isShown;
    this.decoder = new CtnetlinkDecoder(counters);
    this.socket = new NetlinkSocket();
    try {
      this.socket.setReceiveBuffer(RECEIVE_BUFFER_BYTES);
      this.socket.setSendBuffer(SEND_BYTES * 2);
      this.socket.capAcknowledgements();
    } catch (error) {
      this.socket.close();
      throw error;
    }
  }

  /** Asks the kernel for its conntrack statistics: 0 if it answers, else the errno (EPERM, or EINVAL: no conntrack). */
  probe(): number {
    const view = new DataView(this.out.buffer);
    const sequence = this.sequence++;
    this.out.fill(0, 0, NLMSG_ERROR_BYTES);
    view.setUint32(0, NLMSG_ERROR_BYTES, true);
    view.setUint16(4, (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET_STATS, true);
    view.setUint16(6, NLM_F_REQUEST, true);
    view.setUint32(8, sequence, true);
    const sent = this.socket.send(this.out, NLMSG_ERROR_BYTES);
    if (sent < 0) return -sent;
    const count = this.socket.receiveMany(this.answers);
    if (count < 0) return -count;
    const type = this.words[1] & 0xffff;
    return type === NLMSG_ERROR ? -(this.words[4] | 0) : 0;
  }

  /** Sends every request of the batch in order and fills in each one's errno and, for a GET, the found record. */
  execute(batch: KernelBatch): void {
    let next = 0;
    while (next < batch.count) next = this.executeChunk(batch, next);
  }

  /**
   * Creates, updates or deletes one expectation over this socket, whose writes the event reader does not hear: 0, a positive
   * errno, or -1 if the answer was lost.
   */
  expectation(verb: ExpectationVerb, m: Memory, at: number): number {
    const sequence = this.sequence;
    this.sequence = (sequence + 1) >>> 0;
    return this.acknowledged(this.expectations.encode(verb, m, at, this.out, sequence), sequence);
  }

  /**
   * Updates of the record's flow only what `only` names, a mask of attributes (1 << CTA_*): an update of a batch says all
   * that a record has. 0, a positive errno, or -1 if the answer was lost.
   */
  change(m: Memory, at: number, only: number): number {
    const sequence = this.sequence;
    this.sequence = (sequence + 1) >>> 0;
    const tuple = (1 << CTA_TUPLE_ORIG) | (1 << CTA_ZONE);
    const length = this.encoder.encodeRequest(OP_UPDATE, m, at, this.out, 0, sequence, only | tuple);
    this.out[FLAGS_AT] |= NLM_F_ACK;
    return this.acknowledged(length, sequence);
  }

  /** Sends the request at the start of `out`, which asks for an acknowledgement, and waits for that. */
  private acknowledged(length: number, sequence: number): number {
    const sent = this.socket.send(this.out, length);
    if (sent < 0) return -sent;
    for (;;) {
      const count = this.socket.receiveMany(this.answers);
      if (count === -ENOBUFS) continue;
      if (count <= 0) return -1;
      for (let i = 0; i < count; i++) {
        const word = this.answers.start(i) >>> 2;
        const isAnswer = this.answers.length(i) >= NLMSG_ERROR_BYTES && this.words[word + 2] === sequence;
        if (isAnswer && (this.words[word + 1] & 0xffff) === NLMSG_ERROR) return -this.words[word + 4] | 0;
      }
    }
  }

  private executeChunk(batch: KernelBatch, from: number): number {
    this.chunkSequence = this.sequence;
    this.chunkFrom = from;
    let length = 0;
    let i = from;
    while (i < batch.count && i - from < MESSAGES_MAX) {
      const sequence = (this.chunkSequence + (i - from)) >>> 0;
      const at = batch.at[i];
      length += this.encoder.encodeRequest(batch.verb[i], batch.memory, at, this.out, length, sequence);
      batch.foundAt[i] = -1;
      batch.errno[i] = -1;
      i++;
    }
    this.chunkTo = i;
    this.sequence = (this.chunkSequence + (i - from)) >>> 0;
    this.exchange(batch, length);
    return i;
  }

  private exchange(batch: KernelBatch, length: number): void {
    const sent = this.socket.send(this.out, length);
    const isComplete = sent === 0 ? this.readAnswers(batch) : true;
    for (let i = this.chunkFrom; i < this.chunkTo; i++) {
      if (batch.errno[i] !== -1) continue;
      if (sent < 0) batch.errno[i] = -sent;
      // Silence is success, but for a GET, and unless answers were lost.
      else if (isComplete && batch.verb[i] !== OP_GET && batch.verb[i] !== OP_GET_REPLY) batch.errno[i] = 0;
    }
  }

  /** Reads until the queue is empty. False when answers were lost: what is unknown stays unknown. */
  private readAnswers(batch: KernelBatch): boolean {
    let isComplete = true;
    for (;;) {
      const count = this.socket.receiveMany(this.answers);
      if (count > 0) {
        // A short read may also have stopped at an error, which the next one tells.
        for (let i = 0; i < count; i++) this.readAnswer(batch, i);
        continue;
      }
      if (count === -ENOBUFS) {
        this.counters.count('kernel.answers-lost');
        isComplete = false;
        continue;
      }
      return isComplete;
    }
  }

  private readAnswer(batch: KernelBatch, i: number): void {
    let from = this.answers.start(i);
    const end = from + Math.min(this.answers.length(i), this.answers.slotBytes);
    while (end - from >= NLMSG_ERROR_BYTES) {
      const word = from >>> 2;
      const length = this.words[word];
      if (length < NLMSG_HEADER_BYTES || length > end - from) {
        this.counters.count('kernel.message-length');
        return;
      }
      // An answer to an earlier batch, left over from a lost one, has a sequence number below this chunk's.
      const index = this.chunkFrom + ((this.words[word + 2] - this.chunkSequence) >>> 0);
      if (index < this.chunkTo) this.readMessage(batch, index, from, from + length);
      from += (length + 3) & ~3;
    }
  }

  private readMessage(batch: KernelBatch, index: number, from: number, to: number): void {
    const type = this.words[(from >>> 2) + 1] & 0xffff;
    if (type === NLMSG_ERROR) {
      batch.errno[index] = -(this.words[(from >>> 2) + 4] | 0);
      return;
    }
    if (type !== FLOW_TYPE || this.decoder.decode(this.answers.data, from, to, this.isShown) === 0) return;
    const at = index * BATCH_STRIDE_BYTES;
    copyRecord(this.decoder.m, 0, batch.found, at);
    batch.foundAt[index] = at;
    batch.errno[index] = 0;
  }

  close(): void {
    this.socket.close();
  }
}
