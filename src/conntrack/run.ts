/** One run of the command: what it writes to, what it counts, and the sockets that its lines share. */
import { CounterMap } from '../flow/counters.js';
import { Injector } from '../kernel/injector.js';
import { Requester } from './requester.js';
import type { Streams } from './streams.js';
import { TextBuffer } from './text-buffer.js';

/** The release of conntrack-tools whose command line this is; scripts compare it. */
export const COMPATIBLE_VERSION = '1.4.9';
const PREFIX = `conntrack v${COMPATIBLE_VERSION} (conntwin)`;

export class Run {
  readonly out: TextBuffer;
  readonly counters = new CounterMap();
  /** Lines of a file (-R) are done in silence. */
  readonly isQuiet: boolean;
  readonly #streams: Streams;
  #requester: Requester | undefined;
  #injector: Injector | undefined;

  constructor(streams: Streams, isQuiet = false) {
    this.#streams = streams;
    this.isQuiet = isQuiet;
    this.out = new TextBuffer(streams.out);
  }

  /** Says something on standard error, behind the program's name. What was shown before goes out first. */
  say(text: string): void {
    this.out.flush();
    this.#streams.err(`${PREFIX}: ${text}\n`);
  }

  /** A line of its own on standard error, without the program's name. */
  note(text: string): void {
    this.out.flush();
    this.#streams.err(`${text}\n`);
  }

  /** How much was done: "3 flow entries have been shown." */
  summary(count: number, what: string, verb: string): void {
    if (!this.isQuiet) this.say(`${count} ${what} have been ${verb}.`);
  }

  /** The socket for requests about single flows. */
  get requester(): Requester {
    this.#requester ??= new Requester(this.counters);
    return this.#requester;
  }

  /** The socket for batches. */
  get injector(): Injector {
    this.#injector ??= new Injector(this.counters, true);
    return this.#injector;
  }

  close(): void {
    this.out.flush();
    this.#requester?.close();
    this.#injector?.close();
  }
}
