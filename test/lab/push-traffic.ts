/** Connections on which the server speaks, from outside. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { eventually } from './deadline.js';
import { type Lab, SERVER_ADDRESS } from './lab.js';
import { program } from './program.js';
import type { PushState } from './push-program.js';

export const PUSH_PORT = 5003;
const PAUSE_MS = 20;
const PUSH_PROGRAM = 'test/lab/push-program';

/** N connections from the client to a server that sends a byte every 20 ms on each, until the lab closes. */
export class PushTraffic {
  state: PushState = { connected: 0, talking: 0, dead: {} };

  private constructor(
    private readonly client: ChildProcess,
    private readonly connections: number,
  ) {
    onLine(client, (text) => {
      this.state = JSON.parse(text) as PushState;
    });
  }

  /** Starts it and resolves when every connection is made and talks. */
  static async start(lab: Lab, connections: number): Promise<PushTraffic> {
    const command = [...program(PUSH_PROGRAM), 'server', String(PUSH_PORT), String(PAUSE_MS)];
    let isListening = false;
    onLine(lab.spawn('server', command, { stdio: ['pipe', 'pipe', 'inherit'] }), () => {
      isListening = true;
    });
    await eventually('the server listens', { withinMs: 10_000 }, () => isListening);
    const traffic = PushTraffic.prepare(lab, connections);
    traffic.open();
    await traffic.talks(10_000);
    return traffic;
  }

  /** More connections to the same server: their program starts, so that `open` takes no time. */
  static prepare(lab: Lab, connections: number): PushTraffic {
    const command = [
      ...program(PUSH_PROGRAM),
      'client',
      SERVER_ADDRESS,
      String(PUSH_PORT),
      String(connections),
    ];
    return new PushTraffic(lab.spawn('client', command, { stdio: ['pipe', 'pipe', 'inherit'] }), connections);
  }

  /** Opens the connections, all at once. */
  open(): void {
    this.client.stdin?.write('open\n');
  }

  /** Resolves when something came on every connection lately; throws with what became of them. */
  async talks(withinMs: number): Promise<void> {
    await eventually(`${this.connections} connections talk`, { withinMs }, () => {
      if (this.state.talking === this.connections) return true;
      throw new Error(JSON.stringify(this.state));
    });
  }
}

function onLine(child: ChildProcess, take: (text: string) => void): void {
  if (!child.stdout) throw new TypeError('the child needs a pipe as its standard output');
  createInterface({ input: child.stdout }).on('line', take);
}
