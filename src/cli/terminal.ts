/** Where a command writes. */
export interface Terminal {
  /** Writes to standard output; wait for it before the next big piece. */
  out(text: string): Promise<void>;
  err(text: string): void;
  /** Standard error is a terminal: a progress line may be drawn over. */
  isInteractive: boolean;
  /** Lines of the terminal that standard output is, or undefined: it is a file or pipe. */
  screenLines(): number | undefined;
  /** and its characters in a line. */
  screenColumns(): number | undefined;
  /** From now on Ctrl-C does not end the process but aborts this. */
  interruption(): AbortSignal;
}

/** The terminal of this process. A reader of standard output that goes away ends the process in silence, a full disk not. */
export function processTerminal(): Terminal {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // 141: what a shell says of a program that SIGPIPE ended.
    if (error.code === 'EPIPE') process.exit(141);
    process.stderr.write(`conntwin: standard output: ${error.code}\n`);
    process.exit(4);
  });
  return {
    out: (text) =>
      new Promise((resolve) => {
        if (process.stdout.write(text)) resolve();
        else process.stdout.once('drain', resolve);
      }),
    err: (text) => void process.stderr.write(text),
    isInteractive: process.stderr.isTTY === true,
    screenLines: () => (process.stdout.isTTY ? process.stdout.rows : undefined),
    screenColumns: () => (process.stdout.isTTY ? process.stdout.columns : undefined),
    interruption: () => {
      const controller = new AbortController();
      for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => controller.abort());
      return controller.signal;
    },
  };
}

/** Text in columns of equal width, two spaces apart. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length);
    });
  }
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i]))
      .join('  ')
      .trimEnd(),
  );
}

/** 1234567 as 1,234,567. */
export const grouped = (n: number): string => n.toLocaleString('en-US');

/** Milliseconds as a person says them: 1.5 ms, 12.3 s, 3 min, 5 h 2 min, 4 d 3 h. */
export function duration(ms: number): string {
  if (ms < 1000) return `${ms < 10 ? Math.round(ms * 10) / 10 : Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${Math.round(seconds * 10) / 10} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** 2400000 as 2.4 MB. */
export function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
