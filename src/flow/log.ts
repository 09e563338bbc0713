/** Where the core reports what an operator should read; the daemon limits the rate and writes it. */
export type Log = (
  level: 'debug' | 'info' | 'warn' | 'error',
  message: string,
  fields?: Record<string, unknown>,
) => void;
