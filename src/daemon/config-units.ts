import { isIP } from 'node:net';

const SIZES: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KIB: 1 << 10,
  K: 1 << 10,
  MIB: 1 << 20,
  M: 1 << 20,
  GIB: 1 << 30,
  G: 1 << 30,
};
const DURATIONS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Bytes of a size as `64MiB`, `512K` or `1048576`; undefined if it is none. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d{1,12})\s*([A-Za-z]*)$/.exec(text);
  const unit = match ? SIZES[match[2].toUpperCase()] : undefined;
  return match && unit !== undefined ? Number(match[1]) * unit : undefined;
}

/** Milliseconds of a time as `60s`, `500ms`, `5m`; a bare number is seconds. Undefined if it is none. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,9})\s*([a-z]*)$/.exec(text);
  const unit = match ? DURATIONS[match[2] || 's'] : undefined;
  return match && unit !== undefined ? Number(match[1]) * unit : undefined;
}

/** Host and port of `127.0.0.1:9466` or `[::1]:9466`; undefined if it is none. */
export function parseListen(text: string): { host: string; port: number } | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(text);
  if (!match) return undefined;
  const host = match[1] ?? match[2];
  const port = Number(match[3]);
  const isRight = isIP(host) === (match[1] === undefined ? 4 : 6) && port >= 1 && port <= 65_535;
  return isRight ? { host, port } : undefined;
}
