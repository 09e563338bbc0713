import type { TimeoutFloors } from '../failover/commit-timeouts.js';
import type { Mode } from '../replication/ports.js';

/** The configuration as the daemon uses it: every default filled in, sizes in bytes, times in milliseconds. */
export interface Config {
  /** The file it came from, as given. */
  file: string;
  node: { name: string; cluster: string };
  /** In the order of preference: data goes to the first on which every peer hears this node. */
  links: LinkConfig[];
  security: SecurityConfig;
  kernel: {
    eventBufferBytes: number;
    auditIntervalMs: number;
  };
  replicate: ReplicateConfig;
  failover: {
    /** hot: the kernel of a backup has the primary's flows all along. */
    standby: 'cold' | 'hot';
    /** Timeout given to committed ESTABLISHED TCP flows; 0: what this kernel gives that state. Others keep theirs. */
    commitTimeoutMs: number;
    /** Unbroken time as a backup after which flows that a former primary left in this kernel go; 0: never by itself. */
    purgeAfterMs: number;
    /** What other committed flows have at the least, seconds; never more than this kernel gives their state. */
    timeoutFloorsS: TimeoutFloors;
    /** keepalived's notify FIFO, which this daemon reads; undefined: none. */
    vrrpFifo: string | undefined;
    /** The sync group or instance whose lines count; undefined: the only one. */
    vrrpName: string | undefined;
    /** Written for keepalived's track_file: 1 while this node is ready to take over, else 0; undefined: none. */
    trackFile: string | undefined;
    /** What passes while a promote's commit runs; undefined: no gate. */
    gate: GateConfig | undefined;
  };
  control: { socket: string };
  /** Undefined: no listener. */
  metrics: { host: string; port: number } | undefined;
  /** Role, term and unfinished promotes are kept here across restarts, not across boots. */
  stateDir: string;
}

/** Keys by their id (1 to 255), and the one that this node seals with; `none` was written out. */
export type SecurityConfig = { keys: KeyConfig[]; sendKeyId: number } | 'none';

export interface KeyConfig {
  id: number;
  file: string;
}

/** One dedicated path for sync: a multicast group, or some peers by unicast. Addresses are all of one family. */
export interface LinkConfig {
  interface: string;
  /** This node's own address on the link. */
  address: string;
  /** Undefined: `peers` is not empty. */
  group: string | undefined;
  peers: string[];
  port: number;
  mtu: number;
}

/** Which flows are replicated, and how. A condition that lists nothing holds for every flow; all must hold. */
export interface ReplicateConfig extends FlowConditions {
  mode: Mode;
  /** `all`, `none`, or the helpers whose expectations are replicated. */
  expectations: 'all' | 'none' | string[];
  /** Names of TCP states; flows of other protocols pass. */
  tcpStates: string[];
  /** Names of IPS_* bits that must all be set. */
  status: string[];
  minAgeMs: number;
  /** Which tuple must fit addresses and ports; both: either of them. */
  direction: 'original' | 'reply' | 'both';
  /** Flows that any one of these fits stay on this node. */
  ignore: FlowConditions & { local: boolean };
}

/** Conditions on a flow's key and mark, as they choose flows or leave them out. */
export interface FlowConditions {
  protocols: number[];
  /** Address, or address/prefix. */
  addresses: string[];
  /** Inclusive ranges. */
  ports: PortRange[];
  zones: number[];
  marks: MarkMatch[];
}

/** What passes a raised gate beside the sync links, VRRP, other routing protocols and what is multicast. */
export interface GateConfig {
  interfaces: string[];
  /** Address, or address/prefix, of who may reach this machine itself. */
  sources: string[];
  /** Of this machine itself. */
  tcpPorts: PortRange[];
  udpPorts: PortRange[];
}

/** Inclusive. */
export interface PortRange {
  first: number;
  last: number;
}

/** Fits a mark whose bits under the mask are `value`. */
export interface MarkMatch {
  value: number;
  mask: number;
}

export const DEFAULT_CONFIG_FILE = '/etc/conntwin/conntwin.yaml';
export const DEFAULT_CONTROL_SOCKET = '/run/conntwin/control.sock';
export const DEFAULT_METRICS_LISTEN = '127.0.0.1:9466';

/** What is wrong at one place of a configuration file. */
export interface ConfigProblem {
  line: number;
  /** As `links[0].port`; empty for the file as a whole. */
  path: string;
  /** The problem, and what to write instead. */
  text: string;
}

/** A configuration that cannot be used; the message has one `file:line: path: problem` line a problem. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly file: string;
  readonly problems: readonly ConfigProblem[];

  constructor(file: string, problems: readonly ConfigProblem[], options?: ErrorOptions) {
    super(problems.map((problem) => formatProblem(file, problem)).join('\n'), options);
    this.file = file;
    this.problems = problems;
  }
}

function formatProblem(file: string, { line, path, text }: ConfigProblem): string {
  const where = line > 0 ? `${file}:${line}` : file;
  return path === '' ? `${where}: ${text}` : `${where}: ${path}: ${text}`;
}
