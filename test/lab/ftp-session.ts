/** One FTP control connection through the lab's firewalls, driven line by line. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { eventually } from './deadline.js';
import { type FirewallName, type Lab, type NodeName, SERVER_ADDRESS } from './lab.js';
import { program } from './program.js';

const PROGRAM = 'test/lab/ftp-program';
const STDIO = ['pipe', 'pipe', 'inherit'] as const;
const WITHIN = { withinMs: 10_000, everyMs: 10 };

/** Loads a rule into a firewall that gives FTP control connections the kernel's helper. */
export async function helpFtp(lab: Lab, firewall: FirewallName): Promise<void> {
  const rules = `table ip ftp {
  ct helper ftp {
    type "ftp" protocol tcp;
  }
  chain pre {
    type filter hook prerouting priority 0;
    tcp dport 21 ct helper set "ftp"
  }
}
`;
  await lab.exec(firewall, ['nft', '-f', '-'], { input: rules });
}

export interface FtpOptions {
  /** Where the client and the server run; from inside out, unless told otherwise. */
  readonly from?: NodeName;
  readonly to?: NodeName;
  /** What the client connects to: the server, unless told otherwise. */
  readonly address?: string;
  /** The client's own address. */
  readonly own?: string;
}

/** Starts an FTP server on port 21 of a node; it runs until the lab is closed. */
export async function startFtpServer(lab: Lab, node: NodeName = 'server'): Promise<void> {
  const server = lab.spawn(node, [...program(PROGRAM), 'server'], { stdio: [...STDIO] });
  const said: string[] = [];
  if (server.stdout) createInterface({ input: server.stdout }).on('line', (line) => said.push(line));
  await eventually('the FTP server listens', WITHIN, () => said.includes('listening'));
}

/** A session that stands until the lab is closed. */
export class FtpSession {
  readonly #lines: string[] = [];

  private constructor(private readonly client: ChildProcess) {
    if (client.stdout) createInterface({ input: client.stdout }).on('line', (line) => this.#lines.push(line));
  }

  /** Starts a server and logs in. */
  static async start(lab: Lab): Promise<FtpSession> {
    await startFtpServer(lab);
    return FtpSession.open(lab);
  }

  /** Logs in to a server that runs. */
  static async open(
    lab: Lab,
    { from = 'client', address = SERVER_ADDRESS, own }: FtpOptions = {},
  ): Promise<FtpSession> {
    const command = [...program(PROGRAM), 'client', address, ...(own === undefined ? [] : [own])];
    const session = new FtpSession(lab.spawn(from, command, { stdio: [...STDIO] }));
    await session.#answer('220');
    await session.say('USER lab');
    return session;
  }

  /** Sends a line and resolves with the answer, which must end with the line: nothing was lost or added on the way. */
  async say(line: string): Promise<string> {
    this.#write(line);
    const answer = await this.#answer('200');
    const [, , , ...said] = answer.split(' ');
    // What the helper rewrites is not what was said.
    const isRewritten = /^(PORT|EPRT)/.test(line);
    if (!isRewritten && said.join(' ') !== line) throw new Error(`"${line}" arrived as "${said.join(' ')}"`);
    return answer;
  }

  /** Opens a port on the client and resolves with its number. */
  async listen(): Promise<number> {
    this.#write('listen');
    return Number((await this.#answer('port ')).slice(5));
  }

  /** Asks for a passive port, and resolves with where the client is told to connect to. */
  async passive(): Promise<{ host: string; port: number }> {
    this.#write('PASV');
    const fields =
      /\((.*)\)/
        .exec(await this.#answer('227'))?.[1]
        .split(',')
        .map(Number) ?? [];
    return { host: fields.slice(0, 4).join('.'), port: fields[4] * 256 + fields[5] };
  }

  /** Connects to a passive port. */
  enter({ host, port }: { host: string; port: number }): void {
    this.#write(`enter ${host} ${port}`);
  }

  /** Resolves when the data connection arrived at the client. */
  async data(): Promise<void> {
    await this.#answer('data');
  }

  /** How many numbers came over the data connection; throws if one was out of turn. */
  async count(): Promise<number> {
    this.#write('count');
    const answer = await eventually('a count', WITHIN, () =>
      this.#lines.find((line) => line.includes('count ')),
    );
    if (answer.startsWith('wrong')) throw new Error('the data connection lost or doubled a number');
    return Number(answer.split(' ')[1]);
  }

  /** Closes the control connection. */
  async end(): Promise<void> {
    this.#write('end');
    await this.#answer('closed');
  }

  #write(line: string): void {
    this.#lines.length = 0;
    this.client.stdin?.write(`${line}\n`);
  }

  #answer(start: string): Promise<string> {
    return eventually(`an answer "${start}"`, WITHIN, () =>
      this.#lines.find((line) => line.startsWith(start)),
    );
  }
}
