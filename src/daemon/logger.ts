import { type DestinationStream, destination, type Logger as Pino, pino, stdTimeFunctions } from 'pino';
import type { Log } from '../flow/log.js';
import { LOG_KINDS_MAX, LOG_LINES_PER_SECOND } from '../limits.js';

/** Level of the lines that are written; the daemon's are the API's. */
export type LogThreshold = 'debug' | 'info' | 'warn' | 'error';

export interface LoggerOptions {
  level?: LogThreshold;
  /** Where lines go; if absent, to `fd`. */
  stream?: DestinationStream;
  /** Standard output if absent. */
  fd?: number;
  /** Milliseconds that never go back. */
  now?: () => number;
}

/** Lines of one kind within the current second. */
interface Kind {
  since: number;
  lines: number;
  suppressed: number;
}

const SECOND_MS = 1000;
/** Memory for lines that standard output does not take; what is beyond is lost. Bytes. */
const UNWRITTEN_MAX_BYTES = 1 << 20;
const OTHER_KINDS = 'other';

/**
 * The daemon's log: one JSON line a message, at most LOG_LINES_PER_SECOND of one kind (that is: of one message text)
 * in a second; how many were left out stands in `suppressed` of the next line of that kind.
 */
export class Logger {
  readonly log: Log;
  /** Why lines are not written at present. */
  problem: string | undefined;
  readonly #pino: Pino;
  readonly #now: () => number;
  #destroy: () => void = () => {};
  readonly #kinds = new Map<string, Kind>();

  constructor({ level = 'info', stream, fd = 1, now = () => performance.now() }: LoggerOptions = {}) {
    const out = stream ?? this.#open(fd);
    this.#pino = pino(
      { level, base: null, timestamp: stdTimeFunctions.isoTime, formatters: { level: named } },
      out,
    );
    this.#now = now;
    this.log = (at, message, fields) => this.#write(at, message, fields);
  }

  #open(dest: number): DestinationStream {
    // Not synchronous: a reader that stalls must not stall the event loop.
    const out = destination({ dest, sync: false, maxLength: UNWRITTEN_MAX_BYTES });
    // Without a listener a full disk would end the daemon. The lines stay in memory, and are tried again with the next one.
    out.on('error', (error: NodeJS.ErrnoException) => {
      this.problem = error.code ?? error.message;
    });
    out.on('write', () => {
      this.problem = undefined;
    });
    this.#destroy = () => out.destroy();
    return out;
  }

  get level(): string {
    return this.#pino.level;
  }

  setLevel(level: LogThreshold): void {
    this.#pino.level = level;
  }

  /** Says how many lines of each kind were left out so far, and writes what is buffered. For the end. */
  flush(): void {
    for (const [message, kind] of this.#kinds) {
      if (kind.suppressed > 0)
        this.#pino.info({ kind: message, suppressed: kind.suppressed }, 'lines left out');
      kind.suppressed = 0;
    }
    this.#pino.flush();
    // pino would write the rest at the process's exit, and throw.
    if (this.problem !== undefined) this.#destroy();
  }

  #write(level: LogThreshold, message: string, fields: Record<string, unknown> = {}): void {
    if (!this.#pino.isLevelEnabled(level)) return;
    const kind = this.#kindOf(message);
    const now = this.#now();
    if (now - kind.since >= SECOND_MS) {
      kind.since = now;
      kind.lines = 0;
    }
    if (kind.lines++ >= LOG_LINES_PER_SECOND) {
      kind.suppressed++;
      return;
    }
    const { suppressed } = kind;
    kind.suppressed = 0;
    this.#pino[level](suppressed > 0 ? { ...fields, suppressed } : fields, message);
  }

  #kindOf(message: string): Kind {
    const name = this.#kinds.has(message) || this.#kinds.size < LOG_KINDS_MAX ? message : OTHER_KINDS;
    let kind = this.#kinds.get(name);
    if (!kind) {
      kind = { since: this.#now(), lines: 0, suppressed: 0 };
      this.#kinds.set(name, kind);
    }
    return kind;
  }
}

const named = (level: string) => ({ level });
