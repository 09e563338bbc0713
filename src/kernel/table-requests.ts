/** Requests about the table as a whole: its statistics, and emptying it. */
import { EAGAIN, EBUSY, ECANCELED, EPERM, EPROTONOSUPPORT, pinnedBytes } from '../../native/libc.js';
import { NetlinkSocket } from '../../native/netlink-socket.js';
import { SystemError } from '../../native/system-error.js';
import { AttributeWriter } from './attribute-writer.js';
import { type DumpFilter, writeTableFilter } from './dump-request.js';
import * as E from './enums.js';
import { ConntrackMissingError, NetAdminMissingError } from './kernel-error.js';

const ANSWER_MAX_BYTES = 32768;
const HEADER_BYTES = 20;
const VERSION_AT = 17; // in struct nfgenmsg, behind the family
/** Answers to short requests stand in the queue when send returns; more empty reads than this mean that one was lost. */
const EMPTY_READS_MAX = 100;

/** One CPU's counters of what packets met, since the namespace began; numbers that this kernel does not tell are absent. */
export interface CpuStats {
  readonly cpu: number;
  readonly found?: number;
  readonly invalid?: number;
  readonly insert?: number;
  readonly insertFailed?: number;
  readonly drop?: number;
  readonly earlyDrop?: number;
  readonly error?: number;
  readonly searchRestart?: number;
  readonly clashResolve?: number;
  readonly chainTooLong?: number;
  /** Told by older kernels only. */
  readonly searched?: number;
  readonly new?: number;
  readonly ignore?: number;
  readonly delete?: number;
  readonly deleteList?: number;
}

/** One CPU's counters of expectations: flows that were expected and came, expectations made, and gone. */
export interface ExpectationCpuStats {
  readonly cpu: number;
  readonly new?: number;
  readonly create?: number;
  readonly delete?: number;
}

type Names = Readonly<Record<number, string>>;

const CPU_NAMES: Names = {
  [E.CTA_STATS_SEARCHED]: 'searched',
  [E.CTA_STATS_FOUND]: 'found',
  [E.CTA_STATS_NEW]: 'new',
  [E.CTA_STATS_INVALID]: 'invalid',
  [E.CTA_STATS_IGNORE]: 'ignore',
  [E.CTA_STATS_DELETE]: 'delete',
  [E.CTA_STATS_DELETE_LIST]: 'deleteList',
  [E.CTA_STATS_INSERT]: 'insert',
  [E.CTA_STATS_INSERT_FAILED]: 'insertFailed',
  [E.CTA_STATS_DROP]: 'drop',
  [E.CTA_STATS_EARLY_DROP]: 'earlyDrop',
  [E.CTA_STATS_ERROR]: 'error',
  [E.CTA_STATS_SEARCH_RESTART]: 'searchRestart',
  [E.CTA_STATS_CLASH_RESOLVE]: 'clashResolve',
  [E.CTA_STATS_CHAIN_TOOLONG]: 'chainTooLong',
};
const EXPECTATION_NAMES: Names = {
  [E.CTA_STATS_EXP_NEW]: 'new',
  [E.CTA_STATS_EXP_CREATE]: 'create',
  [E.CTA_STATS_EXP_DELETE]: 'delete',
};
const GLOBAL_NAMES: Names = {
  [E.CTA_STATS_GLOBAL_ENTRIES]: 'entries',
  [E.CTA_STATS_GLOBAL_MAX_ENTRIES]: 'maxEntries',
};

/** Asks over a socket of its own, in the network namespace it was made in. Close it when done. */
export class TableRequests {
  private readonly socket: NetlinkSocket;
  private readonly request = new AttributeWriter();
  private readonly data = pinnedBytes(ANSWER_MAX_BYTES);
  private readonly view = new DataView(this.data.buffer);
  private sequence = 0;
  /** Ends the wait for a thread of the pool, while there is one. */
  private giveUp: (() => void) | undefined;

  /** Throws SystemError: EPROTONOSUPPORT when the kernel has no nfnetlink. */
  constructor() {
    this.socket = new NetlinkSocket();
  }

  /**
   * Flows there are and may be. Flows that are destroyed and whose events nobody took yet count. Throws SystemError, as
   * the others here do.
   */
  entries(): { entries: number; maxEntries: number | undefined } {
    const operation = 'ask for conntrack statistics';
    this.begin(E.NFNL_SUBSYS_CTNETLINK, E.IPCTNL_MSG_CT_GET_STATS, E.NLM_F_ACK, 0);
    const [global] = this.exchange(operation, GLOBAL_NAMES);
    return { entries: global?.entries ?? 0, maxEntries: global?.maxEntries };
  }

  /** The counters of every CPU. */
  cpus(): CpuStats[] {
    this.begin(E.NFNL_SUBSYS_CTNETLINK, E.IPCTNL_MSG_CT_GET_STATS_CPU, E.NLM_F_DUMP, 0);
    return this.exchange('ask for conntrack statistics of the CPUs', CPU_NAMES) as unknown as CpuStats[];
  }

  expectationCpus(): ExpectationCpuStats[] {
    this.begin(E.NFNL_SUBSYS_CTNETLINK_EXP, E.IPCTNL_MSG_EXP_GET_STATS_CPU, E.NLM_F_DUMP, 0);
    const operation = 'ask for expectation statistics of the CPUs';
    return this.exchange(operation, EXPECTATION_NAMES) as unknown as ExpectationCpuStats[];
  }

  /**
   * Deletes all flows, or those of a family, mark, status or zone (a kernel before 6.8 ignores the zone, one before 5.8 the
   * status). A thread of the pool waits for the kernel, some 0.3 us a flow.
   */
  async flush(filter: DumpFilter = {}): Promise<void> {
    this.begin(E.NFNL_SUBSYS_CTNETLINK, E.IPCTNL_MSG_CT_DELETE, E.NLM_F_ACK, filter.family ?? 0);
    // In version 0 the kernel ignores the family of a flush: old programs never set it right.
    this.request.bytes[VERSION_AT] = 1;
    writeTableFilter(this.request, filter);
    await this.exchangeInPool('flush the conntrack table');
  }

  /** Deletes all expectations, or those whose masters have this helper. */
  async flushExpectations(helper?: string): Promise<void> {
    this.begin(E.NFNL_SUBSYS_CTNETLINK_EXP, E.IPCTNL_MSG_EXP_DELETE, E.NLM_F_ACK, 0);
    if (helper !== undefined) this.request.text(E.CTA_EXPECT_HELP_NAME, helper);
    await this.exchangeInPool('flush the expectations');
  }

  private begin(subsystem: number, message: number, flags: number, family: number): void {
    if (this.giveUp !== undefined) throw new SystemError('ask the conntrack table', EBUSY);
    this.sequence = (this.sequence + 1) >>> 0 || 1;
    this.request.begin(subsystem, message, flags, this.sequence, family);
  }

  /** Sends the request and reads one object of named numbers a message. */
  private exchange(operation: string, names: Names): Record<string, number>[] {
    const sent = this.socket.send(this.request.bytes, this.request.end());
    if (sent < 0) throw explain(operation, -sent);
    return this.readAnswers(operation, names);
  }

  private readAnswers(operation: string, names: Names): Record<string, number>[] {
    const answers: Record<string, number>[] = [];
    for (let emptyReads = 0; ; ) {
      const length = this.socket.receive(this.data);
      if (length < 0) {
        if (length !== -EAGAIN || ++emptyReads >= EMPTY_READS_MAX) throw explain(operation, -length);
        continue;
      }
      if (this.readDatagram(operation, names, length, answers)) return answers;
    }
  }

  /** True when the answer is complete. */
  private readDatagram(
    operation: string,
    names: Names,
    end: number,
    answers: Record<string, number>[],
  ): boolean {
    for (let from = 0; end - from >= HEADER_BYTES; ) {
      const length = this.view.getUint32(from, true);
      if (length < HEADER_BYTES || length > end - from) return false;
      const type = this.view.getUint16(from + 4, true);
      const isOurs = this.view.getUint32(from + 8, true) === this.sequence;
      if (isOurs && (type === E.NLMSG_DONE || type === E.NLMSG_ERROR)) {
        const errno = -this.view.getInt32(from + 16, true);
        if (errno > 0) throw explain(operation, errno);
        return true;
      }
      if (isOurs) answers.push(this.readNumbers(names, from, from + length));
      from += (length + 3) & ~3;
    }
    return false;
  }

  private readNumbers(names: Names, from: number, to: number): Record<string, number> {
    // struct nfgenmsg: the resource id, in network order, is the CPU.
    const numbers: Record<string, number> = { cpu: this.view.getUint16(from + 18) };
    for (let p = from + HEADER_BYTES; to - p >= 8; ) {
      const size = this.view.getUint16(p, true);
      const name = names[this.view.getUint16(p + 2, true) & 0x3fff];
      if (size < 4 || size > to - p) break;
      if (name !== undefined && size === 8) numbers[name] = this.view.getUint32(p + 4);
      p += (size + 3) & ~3;
    }
    return numbers;
  }

  private async exchangeInPool(operation: string): Promise<void> {
    const length = this.request.end();
    try {
      const isSent = await new Promise<boolean>((resolve, reject) => {
        this.giveUp = () => reject(new SystemError(operation, ECANCELED));
        this.socket.sendInPool(this.request.bytes, length, resolve);
      });
      // The kernel refuses a second time as well, and then says why.
      const errno = isSent ? 0 : -this.socket.send(this.request.bytes, length);
      if (errno > 0) throw explain(operation, errno);
      this.readAnswers(operation, {});
    } finally {
      this.giveUp = undefined;
    }
  }

  /** A flush under way goes on in the kernel, and its promise is rejected with ECANCELED. */
  close(): void {
    this.socket.close();
    this.giveUp?.();
  }
}

function explain(operation: string, errno: number): SystemError {
  if (errno === EPERM) return new NetAdminMissingError(operation, errno);
  if (errno === EPROTONOSUPPORT) return new ConntrackMissingError(operation, errno);
  return new SystemError(operation, errno);
}
