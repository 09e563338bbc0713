/** One TFTP request from the lab's client to its server, which answers from another port when it is told to. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { eventually } from './deadline.js';
import { type Lab, SERVER_ADDRESS } from './lab.js';
import { program } from './program.js';

const PROGRAM = 'test/lab/tftp-program';
const STDIO = ['pipe', 'pipe', 'inherit'] as const;
const WITHIN = { withinMs: 10_000, everyMs: 10 };

export class TftpRequest {
  readonly #said: string[] = [];

  private constructor(private readonly server: ChildProcess) {
    this.#listen(server);
  }

  /** Starts a server, and sends it a request; the server has got it, and has not answered. */
  static async send(lab: Lab): Promise<TftpRequest> {
    const request = new TftpRequest(
      lab.spawn('server', [...program(PROGRAM), 'server'], { stdio: [...STDIO] }),
    );
    await request.#heard('listening');
    request.#listen(
      lab.spawn('client', [...program(PROGRAM), 'client', SERVER_ADDRESS], { stdio: [...STDIO] }),
    );
    await request.#heard('asked');
    return request;
  }

  /** The server answers, and the client gets it. */
  async answer(): Promise<void> {
    this.server.stdin?.write('answer\n');
    await this.#heard('got data');
  }

  #listen(child: ChildProcess): void {
    if (child.stdout) createInterface({ input: child.stdout }).on('line', (line) => this.#said.push(line));
  }

  #heard(line: string): Promise<boolean> {
    return eventually(`"${line}"`, WITHIN, () => this.#said.includes(line));
  }
}
