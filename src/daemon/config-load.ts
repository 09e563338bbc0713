import { type Document, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import type { z } from 'zod';
import { type Config, ConfigError, type ConfigProblem } from './config.js';
import { configSchema, LATER_KEYS } from './config-schema.js';
import { readConfigText } from './config-text.js';
import { KeyFileError, readKeyFile } from './key-file.js';

/** Reads and checks a configuration file and what it names. Throws ConfigError with every problem found. */
export function loadConfig(file: string): Config {
  return checkConfig(file, readConfigText(file));
}

/** Checks a configuration's text; `file` is for messages. Throws ConfigError with every problem found. */
export function checkConfig(file: string, text: string): Config {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    throw new ConfigError(
      file,
      document.errors.map((error) => ({
        line: lines.linePos(error.pos[0]).line,
        path: '',
        text: `${error.message.split('\n')[0]}, write valid YAML here`,
      })),
    );
  }
  const lineAt = (path: readonly PropertyKey[]) => lineOf(document, lines, path);
  const result = configSchema.safeParse(plainOf(file, document));
  if (!result.success) {
    const problems = result.error.issues.flatMap(innerIssues).flatMap((issue) => problemsOf(issue, lineAt));
    throw new ConfigError(
      file,
      problems.sort((a, b) => a.line - b.line),
    );
  }
  const config = configFrom(file, result.data);
  const keyProblems = keyFileProblems(config, lineAt, document.hasIn(['security', 'keys']));
  if (keyProblems.length > 0) throw new ConfigError(file, keyProblems);
  return config;
}

function plainOf(file: string, document: Document.Parsed): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 }) ?? undefined;
  } catch (cause) {
    const text = `${(cause as Error).message}, write it out without aliases`;
    throw new ConfigError(file, [{ line: 1, path: '', text }], { cause });
  }
}

function configFrom(file: string, data: z.output<typeof configSchema>): Config {
  return {
    file,
    node: data.node,
    links: data.links,
    security: data.security,
    kernel: { eventBufferBytes: data.kernel.event_buffer, auditIntervalMs: data.kernel.audit_interval },
    replicate: data.replicate,
    failover: {
      standby: data.failover.standby,
      commitTimeoutMs: data.failover.commit_timeout,
      purgeAfterMs: data.failover.purge_after,
      timeoutFloorsS: data.failover.timeout_floors,
      vrrpFifo: data.failover.vrrp_fifo ?? undefined,
      vrrpName: data.failover.vrrp_name ?? undefined,
      trackFile: data.failover.track_file ?? undefined,
      gate: data.failover.gate,
    },
    control: data.control,
    metrics: data.metrics,
    stateDir: data.state_dir,
  };
}

/** Problems of the key files, at the line and under the path of the key that names each. */
function keyFileProblems(
  config: Config,
  lineAt: (path: readonly PropertyKey[]) => number,
  isListed: boolean,
): ConfigProblem[] {
  if (config.security === 'none') return [];
  const problems: ConfigProblem[] = [];
  const seen = new Map<string, number>();
  config.security.keys.forEach(({ id, file }, at) => {
    const path = isListed ? ['security', 'keys', at, 'file'] : ['security', 'key_file'];
    const say = (text: string) => problems.push({ line: lineAt(path), path: pathText(path), text });
    try {
      const key = Buffer.from(readKeyFile(file)).toString('hex');
      const before = seen.get(key);
      if (before !== undefined) say(`${file} holds the key of id ${before}, make another one for id ${id}`);
      seen.set(key, id);
    } catch (cause) {
      if (!(cause instanceof KeyFileError)) throw cause;
      say(cause.message);
    }
  });
  return problems;
}

/** Of a choice, the problems inside the alternative that was meant: the one whose own type fits. */
function innerIssues(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== 'invalid_union') return [issue];
  const isInside = ({ path, code }: z.core.$ZodIssue) =>
    path.length > 0 || code === 'unrecognized_keys' || code === 'custom';
  const meant = issue.errors.find((alternative) => alternative.every(isInside));
  return meant?.map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] })) ?? [issue];
}

function problemsOf(
  issue: z.core.$ZodIssue,
  lineAt: (path: readonly PropertyKey[]) => number,
): ConfigProblem[] {
  if (issue.code !== 'unrecognized_keys') {
    return [{ line: lineAt(issue.path), path: pathText(issue.path), text: issue.message }];
  }
  return issue.keys.map((key) => {
    const path = [...issue.path, key];
    return { line: lineAt(path), path: pathText(path), text: unknownKeyText(issue.path, key) };
  });
}

function unknownKeyText(parent: readonly PropertyKey[], key: string): string {
  if (LATER_KEYS.has(pathText([...parent, key]))) return 'not supported yet, leave it out';
  const known = keysAt(parent);
  const near = nearest(key, known);
  return near === undefined
    ? `unknown key, leave it out or write one of ${known.join(', ')}`
    : `unknown key, did you mean \`${near}\`?`;
}

/** Keys that the schema has under a path, read from its own shape. */
function keysAt(path: readonly PropertyKey[]): string[] {
  let schema: unknown = configSchema;
  for (const step of path) {
    const inner = unwrapped(schema);
    schema =
      typeof step === 'number' ? (inner as { element?: unknown }).element : shapeOf(inner)?.[String(step)];
  }
  return Object.keys(shapeOf(unwrapped(schema)) ?? {});
}

const shapeOf = (schema: unknown) => (schema as { shape?: Record<string, unknown> } | undefined)?.shape;

/** The object or array schema inside defaults, options, transforms and choices. */
function unwrapped(schema: unknown): unknown {
  let inner: unknown = schema;
  for (;;) {
    const { def } = (inner ?? {}) as { def?: { innerType?: unknown; in?: unknown; options?: unknown[] } };
    const isSection = (option: unknown) => shapeOf(unwrapped(option)) !== undefined;
    const next = def?.innerType ?? def?.in ?? def?.options?.find(isSection);
    if (next === undefined) return inner;
    inner = next;
  }
}

function nearest(key: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(key.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(key.toLowerCase().replaceAll('-', '_'), candidate);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}

function pathText(path: readonly PropertyKey[]): string {
  let text = '';
  for (const step of path)
    text += typeof step === 'number' ? `[${step}]` : `${text ? '.' : ''}${String(step)}`;
  return text;
}

/** Line of the deepest key or item of `path` that the file has; 1 if it has none. */
function lineOf(document: Document.Parsed, lines: LineCounter, path: readonly PropertyKey[]): number {
  let node: unknown = document.contents;
  let offset = (node as Node | null)?.range?.[0] ?? 0;
  for (const step of path) {
    let found: Node | undefined;
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step));
      found = pair?.key as Node | undefined;
      node = pair?.value;
    } else if (isSeq(node)) {
      found = node.items[Number(step)] as Node | undefined;
      node = found;
    }
    if (!found?.range) break;
    offset = found.range[0];
  }
  return lines.linePos(offset).line;
}
