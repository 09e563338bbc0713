/** The configuration as the daemon uses it: every default filled in, sizes in bytes, times in milliseconds. */
export interface Config {
  /** The file it came from, as given. */
  file: string;
  node: { name: string; cluster: string };
  links: LinkConfig[];
  security: { keyFile: string } | 'none';
  kernel: {
    eventBufferBytes: number;
    auditIntervalMs: number;
  };
  replicate: {
    /** Flows with one of these addresses in a tuple stay out of the stream. IPv4 or IPv6, exact. */
    ignoreAddresses: string[];
  };
  failover: {
    standby: 'cold';
    /** Timeout given to committed ESTABLISHED TCP flows; 0: what this kernel gives that state. Others keep theirs. */
    commitTimeoutMs: number;
  };
  control: { socket: string };
  /** Undefined: no listener. */
  metrics: { host: string; port: number } | undefined;
  /** Role, term and unfinished promotes are kept here across restarts, not across boots. */
  stateDir: string;
}

/** One dedicated path for sync: a multicast group, or one peer by unicast. */
export interface LinkConfig {
  interface: string;
  /** This node's own address on the link. */
  address: string;
  group: string | undefined;
  peer: string | undefined;
  port: number;
  mtu: number;
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
