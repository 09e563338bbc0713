/** Running other programs: to the end with their output, or as a child that lives on. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';

/** What a program left: exit code (128 + signal when killed), and what it wrote. */
export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A program ended with another exit code than 0; the message has the command and what it said. */
export class CommandError extends Error {
  constructor(
    readonly argv: readonly string[],
    readonly result: CommandResult,
  ) {
    const said = (result.stderr || result.stdout).trim().slice(0, 2000);
    super(`${argv.join(' ')}: exit code ${result.code}${said ? `: ${said}` : ''}`);
    this.name = 'CommandError';
  }
}

/** Debian keeps the network tools where an ordinary user's PATH does not look. */
export function commandEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`, LC_ALL: 'C' };
}

export interface RunOptions {
  /** Text for its standard input. */
  readonly input?: string;
  /** It is killed after this time. Milliseconds. */
  readonly timeoutMs?: number;
}

/** Runs a program to its end and resolves with what it left, whatever the exit code. */
export function tryRun(argv: readonly string[], options: RunOptions = {}): Promise<CommandResult> {
  const [file, ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { env: commandEnvironment(), timeout: options.timeoutMs ?? 120_000 });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      const stderr = Buffer.concat(err).toString() + (signal ? `\nended by ${signal}` : '');
      resolve({ code: code ?? 128, stdout: Buffer.concat(out).toString(), stderr });
    });
    // A program that ends before it read its input closes the pipe: that is told by its exit code.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
  });
}

/** Runs a program to its end and resolves with its standard output; throws CommandError if it failed. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const result = await tryRun(argv, options);
  if (result.code !== 0) throw new CommandError(argv, result);
  return result.stdout;
}

/** Runs a program while everything else waits, for clean-up on exit; failures are only told by the exit code. */
export function runSync(argv: readonly string[], input = ''): CommandResult {
  const [file, ...args] = argv;
  const done = spawnSync(file, args, { env: commandEnvironment(), input, encoding: 'utf8' });
  return { code: done.status ?? 128, stdout: done.stdout ?? '', stderr: done.stderr ?? '' };
}

/** Resolves when the child has ended, at once if it already has. */
export function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => child.once('exit', () => resolve()));
}
