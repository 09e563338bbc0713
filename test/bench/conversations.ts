/** Short conversations of real packets between the client and the server of a lab, both ends sent by one process. */
import { AF_INET } from '../../native/libc.js';
import { NetNamespace } from '../../native/net-namespace.js';
import { addressFromText } from '../../native/structs.js';
import { PacketSender } from './packet-sender.js';
import { type End, type Step, StepPackets } from './packets.js';

export interface ConversationOptions {
  /** Names of the namespaces, and addresses: the client's, the server's, and the one that SNAT writes. */
  readonly namespaces: Readonly<Record<End, string>>;
  readonly client: string;
  readonly server: string;
  readonly translated: string;
  readonly steps: readonly Step[];
  /** Conversations that take each step together. */
  readonly batch: number;
  /** Between an end's packet and the other's answer. Milliseconds. */
  readonly halfTripMs: number;
}

export interface ConversationReport {
  readonly conversations: number;
  readonly packets: number;
  readonly perSecond: number;
  /** The longest time that a batch was sent after it was due. */
  readonly lateMs: number;
}

/** A batch of conversations under way: where it is, and when its next packets are due. */
interface Flight {
  first: number;
  step: number;
  dueMs: number;
}

/** Sends by a schedule that waits for no answer: what each end has to say is known. Close it when done. */
export class Conversations {
  private readonly senders: Readonly<Record<End, PacketSender>>;
  private readonly packets: readonly StepPackets[];
  private readonly nap = new Int32Array(new SharedArrayBuffer(4));

  constructor(private readonly options: ConversationOptions) {
    const open = (end: End, target: string): PacketSender => {
      const namespace = new NetNamespace(options.namespaces[end]);
      try {
        return namespace.run(() => new PacketSender(target));
      } finally {
        namespace.close();
      }
    };
    this.senders = {
      client: open('client', options.server),
      server: open('server', options.translated),
    };
    const [client, server, translated] = [options.client, options.server, options.translated].map((text) => {
      return addressFromText(AF_INET, text)!;
    });
    this.packets = options.steps.map((step) => {
      const [from, to] = step.end === 'client' ? [client, server] : [server, translated];
      return new StepPackets(step, from, to, options.batch);
    });
  }

  /** Starts `count` conversations from number `first` on, `perSecond`, and ends when the last packet is sent. */
  run(count: number, first: number, perSecond: number): ConversationReport {
    const { batch } = this.options;
    const flights: Flight[] = [];
    const start = performance.now();
    const betweenMs = (batch / perSecond) * 1000;
    let [begun, packets, lateMs] = [0, 0, 0];
    for (;;) {
      const now = performance.now();
      let next = Number.POSITIVE_INFINITY;
      for (const flight of flights) {
        while (flight.dueMs <= now && flight.step < this.packets.length) {
          lateMs = Math.max(lateMs, now - flight.dueMs);
          packets += this.say(flight);
        }
        if (flight.step < this.packets.length) next = Math.min(next, flight.dueMs);
      }
      while (flights.length > 0 && flights[0].step >= this.packets.length) flights.shift();
      const dueMs = start + (begun / batch) * betweenMs;
      if (begun < count && dueMs <= now) {
        flights.push({ first: first + begun, step: 0, dueMs });
        begun += batch;
        continue;
      }
      if (begun >= count && flights.length === 0) break;
      const waitMs = Math.min(next, begun < count ? dueMs : next) - performance.now();
      // Without the event loop, whose timers are too coarse; and never spinning, which would take a core from others.
      if (waitMs > 0) Atomics.wait(this.nap, 0, 0, waitMs);
    }
    const perSecondDone = (begun / (performance.now() - start)) * 1000;
    return { conversations: begun, packets, perSecond: perSecondDone, lateMs };
  }

  close(): void {
    for (const sender of Object.values(this.senders)) sender.close();
  }

  /** Sends the flight's next packets and says when those after it are due. */
  private say(flight: Flight): number {
    const { batch, steps, halfTripMs } = this.options;
    const packets = this.packets[flight.step];
    for (let i = 0; i < batch; i++) packets.set(i, flight.first + i);
    this.senders[steps[flight.step].end].send(packets.batch, batch);
    flight.step++;
    if (flight.step < steps.length && steps[flight.step].waits) flight.dueMs = performance.now() + halfTripMs;
    return batch;
  }
}
