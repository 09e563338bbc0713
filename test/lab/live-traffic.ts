/** Live TCP connections from the lab's client to its server, watched from outside. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { ended } from './command.js';
import { eventually } from './deadline.js';
import { type Lab, SERVER_ADDRESS } from './lab.js';
import { program } from './program.js';
import type { TrafficLine, TrafficState } from './traffic-program.js';

const PORT = 5001;
const PAUSE_MS = 50;
/** Longer than what a connection is given before it counts as dead. */
const FINISH_WITHIN_MS = 20_000;
const TRAFFIC_PROGRAM = 'test/lab/traffic-program';

/** A server and a client with N connections that exchange one byte every 50 ms until `finish`. */
export class LiveTraffic {
  /** The last state the client told. */
  state: TrafficState | undefined;
  private report: TrafficState | undefined;

  private constructor(
    private readonly server: ChildProcess,
    private readonly client: ChildProcess,
  ) {
    onLines(client, (line) => {
      if (line.kind === 'now') this.state = line;
      if (line.kind === 'report') this.report = this.state = line;
    });
  }

  /** Starts the traffic and resolves when every connection is made. */
  static async start(lab: Lab, connections: number): Promise<LiveTraffic> {
    const command = program(TRAFFIC_PROGRAM);
    const stdio = ['pipe', 'pipe', 'inherit'] as const;
    const server = lab.spawn('server', [...command, 'server', String(PORT)], { stdio: [...stdio] });
    let isListening = false;
    onLines(server, (line) => {
      isListening ||= line.kind === 'listening';
    });
    await eventually('the server listens', { withinMs: 10_000 }, () => isListening);
    const args = ['client', SERVER_ADDRESS, PORT, connections, PAUSE_MS].map(String);
    const client = lab.spawn('client', [...command, ...args], { stdio: [...stdio] });
    const traffic = new LiveTraffic(server, client);
    await eventually(`${connections} connections are made`, { withinMs: 20_000 }, () => {
      return (traffic.state?.connected ?? 0) === connections;
    });
    return traffic;
  }

  /** True when every living connection gets its answers. */
  get isTalking(): boolean {
    return this.state !== undefined && this.state.alive > 0 && this.state.silent === 0;
  }

  /** Forgets the silences so far. */
  reset(): void {
    this.client.stdin?.write('reset\n');
  }

  /** Asks every connection for one more answer, ends the traffic and resolves with the report. */
  async finish(): Promise<TrafficState> {
    this.client.stdin?.write('finish\n');
    const report = await eventually('the report of the client', { withinMs: FINISH_WITHIN_MS }, () => {
      return this.report;
    });
    this.server.stdin?.end();
    await Promise.all([ended(this.server), ended(this.client)]);
    return report;
  }
}

function onLines(child: ChildProcess, take: (line: TrafficLine) => void): void {
  if (!child.stdout) throw new TypeError('the child needs a pipe as its standard output');
  createInterface({ input: child.stdout }).on('line', (text) => take(JSON.parse(text) as TrafficLine));
}
