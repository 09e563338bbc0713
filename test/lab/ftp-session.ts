/** One FTP control connection from the lab's client to its server, driven line by line. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { eventually } from './deadline.js';
import { type Lab, SERVER_ADDRESS } from './lab.js';
import { program } from './program.js';

const PROGRAM = 'test/lab/ftp-program';
const STDIO = ['pipe', 'pipe', 'inherit'] as const;

/** Loads a rule into a firewall that gives FTP control connections the kernel's helper. */
export async function helpFtp(lab: Lab, firewall: 'fw1' | 'fw2'): Promise<void> {
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

/** A session that stands until the lab is closed. */
export class FtpSession {
  readonly #lines: string[] = [];

  private constructor(private readonly client: ChildProcess) {
    if (client.stdout) createInterface({ input: client.stdout }).on('line', (line) => this.#lines.push(line));
  }

  /** Starts a server and logs in. */
  static async start(lab: Lab): Promise<FtpSession> {
    const server = lab.spawn('server', [...program(PROGRAM), 'server'], { stdio: [...STDIO] });
    const said: string[] = [];
    if (server.stdout) createInterface({ input: server.stdout }).on('line', (line) => said.push(line));
    await eventually('the FTP server listens', { withinMs: 10_000 }, () => said.includes('listening'));
    const client = lab.spawn('client', [...program(PROGRAM), 'client', SERVER_ADDRESS], {
      stdio: [...STDIO],
    });
    const session = new FtpSession(client);
    await session.#answer('220');
    await session.say('USER lab');
    return session;
  }

  /** Sends a line and resolves with the answer. */
  say(line: string): Promise<string> {
    this.#lines.length = 0;
    this.client.stdin?.write(`${line}\n`);
    return this.#answer('200');
  }

  /** Opens a port on the client and resolves with its number. */
  async listen(): Promise<number> {
    this.client.stdin?.write('listen\n');
    return Number((await this.#answer('port ')).slice(5));
  }

  /** Resolves when the data connection arrived at the client. */
  async data(): Promise<void> {
    await this.#answer('data');
  }

  #answer(start: string): Promise<string> {
    return eventually(`an answer "${start}"`, { withinMs: 10_000, everyMs: 10 }, () =>
      this.#lines.find((line) => line.startsWith(start)),
    );
  }
}
