import type { ControlClient } from '../control/client.js';
import type { Progress } from '../control/messages.js';
import { DEFAULT_CONFIG_FILE, DEFAULT_CONTROL_SOCKET } from '../daemon/config.js';
import { duration, grouped, type Terminal } from './terminal.js';

/** Exit codes of every command; scripts rely on them. 1 (a difference) and 3 (not provable, or done in part) come from reports. */
export const EXIT_OK = 0;
/** The command line or the configuration is wrong. */
export const EXIT_USAGE = 2;
/** No daemon, no permission, the system refused. */
export const EXIT_OPERATION = 4;

/** The global options. */
export interface Globals {
  config?: string;
  socket?: string;
  json?: boolean;
}

/** What every command gets: where to write, the global options, and its exit code to set. */
export class CommandContext {
  readonly terminal: Terminal;
  readonly globals: () => Globals;
  exitCode = EXIT_OK;

  constructor(terminal: Terminal, globals: () => Globals) {
    this.terminal = terminal;
    this.globals = globals;
  }

  get isJson(): boolean {
    return this.globals().json === true;
  }

  get configFile(): string {
    return this.globals().config ?? DEFAULT_CONFIG_FILE;
  }

  /** Writes a value as indented JSON. */
  json(value: unknown): Promise<void> {
    return this.terminal.out(`${JSON.stringify(value, undefined, 2)}\n`);
  }

  /** Runs `use` with a connection to the daemon. Throws ControlError if there is none. */
  async withDaemon(use: (client: ControlClient) => Promise<void>): Promise<void> {
    const path = await this.#socketPath();
    const { ControlClient } = await import('../control/client.js');
    const client = await ControlClient.connect(path);
    try {
      await use(client);
    } finally {
      client.close();
    }
  }

  /**
   * As `withDaemon`, and true. Where no daemon answers and none is needed, false: that one was named by --socket counts
   * as a need.
   */
  async withDaemonIfAny(isNeeded: boolean, use: (client: ControlClient) => Promise<void>): Promise<boolean> {
    if (isNeeded || this.globals().socket !== undefined) {
      await this.withDaemon(use);
      return true;
    }
    if (!(await this.hasDaemon())) return false;
    await this.withDaemon(use);
    return true;
  }

  /** Whether a daemon answers. */
  async hasDaemon(): Promise<boolean> {
    const { probeSocket } = await import('../control/socket-path.js');
    return (await probeSocket(await this.#socketPath())) === undefined;
  }

  /** A sink that draws progress over one line of standard error, if somebody looks; `end` wipes it. */
  progress(): { show: (progress: Progress) => void; end: () => void } {
    const { terminal } = this;
    if (!terminal.isInteractive) return { show: () => {}, end: () => {} };
    const since = performance.now();
    return {
      show: ({ phase, done, total }) => {
        const count = total > 0 ? `${grouped(done)} of ${grouped(total)}` : grouped(done);
        terminal.err(`\r\x1b[K${phase}: ${count}  (${duration(performance.now() - since)})`);
      },
      end: () => terminal.err('\r\x1b[K'),
    };
  }

  /** --socket, else the configuration's; only that key is read, since every call waits for it. */
  async #socketPath(): Promise<string> {
    const { socket, config } = this.globals();
    if (socket !== undefined) return socket;
    const { existsSync } = await import('node:fs');
    if (config === undefined && !existsSync(DEFAULT_CONFIG_FILE)) return DEFAULT_CONTROL_SOCKET;
    const { readSocketPath } = await import('../daemon/config-socket.js');
    return readSocketPath(this.configFile);
  }
}
