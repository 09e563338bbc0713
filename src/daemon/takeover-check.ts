/**
 * What a takeover needs of this node, checked on the kernel itself at long intervals, a little at a time: that it tracks
 * and translates what the replicas hold, has room for it, keeps labels, knows the helpers, and tells of every flow.
 *
 * Labels and helpers are tried by a flow between addresses that nobody has (192.0.2.0/24, RFC 5737), which is deleted at
 * once: how rules and modules are arranged need not be understood then. Others hear of it (conntrack -E); this daemon's
 * own event socket does not.
 */
import { EOPNOTSUPP } from '../failover/errno.js';
import type { HelperNeed, Needs } from '../failover/replica-needs.js';
import { NeedsScan } from '../failover/replica-needs.js';
import { type Flow, protocolName, recordFromFlow } from '../flow/flow.js';
import { KernelBatch, type KernelPort, OP_CREATE, OP_DELETE, OP_GET } from '../flow/kernel-port.js';
import { allocateMemory, findPart, MAX_RECORD_BYTES, PART_LABELS } from '../flow/record.js';
import type { RulesetFacts, RulesetReader } from '../kernel/ruleset.js';
import { CHECK_INTERVAL_MS, CHECK_STEP_MS } from '../limits.js';
import type { FlowTable } from '../table/flow-table.js';

const SAMPLE = 'config/nftables/conntwin.nft has the rules';
const NAMES = { ipv4: 'IPv4', ipv6: 'IPv6' } as const;
/** Addresses for documentation (RFC 5737, RFC 3849). */
const NOBODY = { ipv4: ['192.0.2.1', '192.0.2.2'], ipv6: ['2001:db8::1', '2001:db8::2'] } as const;
const DISCARD_PORT = 9;

export interface TakeoverCheckParts {
  readonly table: FlowTable;
  readonly kernel: KernelPort;
  /** nf_conntrack_events; undefined: this kernel has no such setting. */
  events(): number | undefined;
  /** nf_conntrack_max; 0: no limit; undefined: this kernel has no such setting. */
  limit(): number | undefined;
  readonly rules: () => RulesetReader;
}

export class TakeoverCheck {
  /** What the last check found missing, in sentences. */
  problems: readonly string[] = [];
  /** Checks that ended. */
  runs = 0;
  readonly #parts: TakeoverCheckParts;
  readonly #memory = allocateMemory(MAX_RECORD_BYTES);
  readonly #batch = new KernelBatch(1);
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;
  #scan: NeedsScan | undefined;
  #rules: RulesetReader | undefined;
  #waiters: ((problems: readonly string[]) => void)[] = [];

  constructor(parts: TakeoverCheckParts) {
    this.#parts = parts;
    this.#stepIn(CHECK_STEP_MS);
  }

  /** A check now, or the one that runs: rules are read at its end. Resolves with what it finds missing. */
  check(): Promise<readonly string[]> {
    this.#stepIn(0);
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#rules?.close();
  }

  #stepIn(ms: number): void {
    clearTimeout(this.#timer);
    if (!this.#isClosed) this.#timer = setTimeout(() => this.#step(), ms);
  }

  #step(): void {
    this.#scan ??= new NeedsScan(this.#parts.table);
    const isScanned = this.#scan.step();
    if (isScanned) this.#rules ??= this.#parts.rules();
    if (this.#rules === undefined || !this.#rules.step()) {
      // Somebody waits: then as fast as the rest of the daemon allows.
      this.#stepIn(this.#waiters.length > 0 ? 0 : CHECK_STEP_MS);
      return;
    }
    this.problems = this.#judge(this.#scan.needs, this.#rules.facts);
    this.runs++;
    this.#scan = undefined;
    this.#rules = undefined;
    this.#stepIn(CHECK_INTERVAL_MS);
    for (const tell of this.#waiters.splice(0)) tell(this.problems);
  }

  #judge(needs: Needs, facts: RulesetFacts): string[] {
    const problems: string[] = [];
    const events = this.#parts.events();
    if (events !== undefined && events !== 1)
      problems.push(
        `nf_conntrack_events is ${events}, and flows would stay unheard: sysctl -w net.netfilter.nf_conntrack_events=1`,
      );
    const limit = this.#parts.limit() ?? 0;
    if (limit > 0 && needs.flows > limit)
      problems.push(
        `nf_conntrack_max is ${limit}, and a takeover is about ${needs.flows} flows: raise net.netfilter.nf_conntrack_max`,
      );
    for (const family of ['ipv4', 'ipv6'] as const) {
      if (facts.isUncertain || !needs[family].hasFlows) continue;
      if (!facts[family].isTracked)
        problems.push(
          `no rule here uses ct for ${NAMES[family]}, so the kernel would pass by what is committed: ${SAMPLE}`,
        );
      if (needs[family].hasTranslated && !facts[family].isTranslated)
        problems.push(
          `no nat chain for ${NAMES[family]} here, so nothing committed would be translated: ${SAMPLE}`,
        );
    }
    if (needs.hasLabels && this.#losesLabels())
      problems.push(`no rule here uses ct label, so labels would be lost: ${SAMPLE}`);
    for (const helper of needs.helpers.values()) {
      if (this.#isUnknown(helper))
        problems.push(
          `this kernel does not know the helper ${helper.name}: modprobe nf_conntrack_${helper.name}`,
        );
    }
    return problems;
  }

  #losesLabels(): boolean {
    return this.#try(nobodysFlow('ipv4', 'udp', { labels: [0] }), (errno) => {
      if (errno !== 0) return false;
      this.#execute(OP_GET);
      const foundAt = this.#batch.foundAt[0];
      return foundAt >= 0 && findPart(this.#batch.found, foundAt, PART_LABELS) < 0;
    });
  }

  #isUnknown({ name, family, protocol }: HelperNeed): boolean {
    const flow = nobodysFlow(family, protocolName(protocol), { helper: name });
    return this.#try(flow, (errno) => errno === EOPNOTSUPP);
  }

  /** Creates the flow, looks at what the kernel says, and deletes it. */
  #try(flow: Flow, look: (errno: number) => boolean): boolean {
    recordFromFlow(flow, this.#memory, 0);
    const errno = this.#execute(OP_CREATE);
    const seen = look(errno);
    if (errno === 0) this.#execute(OP_DELETE);
    return seen;
  }

  #execute(verb: number): number {
    const batch = this.#batch;
    batch.clear();
    batch.add(verb, 0, this.#memory, 0);
    this.#parts.kernel.execute(batch);
    return batch.errno[0];
  }
}

/** A flow that no packet ever belongs to. */
function nobodysFlow(family: 'ipv4' | 'ipv6', protocol: string, more: Partial<Flow>): Flow {
  const [source, destination] = NOBODY[family];
  return {
    family,
    protocol,
    original: { source, destination, sourcePort: DISCARD_PORT, destinationPort: DISCARD_PORT },
    status: [],
    timeout: 1,
    ...(protocol === 'tcp' ? { protoinfo: { kind: 'tcp', state: 'CLOSE' } } : {}),
    ...more,
  };
}
