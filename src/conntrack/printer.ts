/** Shows flows in the form that was asked for, and puts what belongs around them. */
import { EVENT_DESTROY, EVENT_NEW, EVENT_UPDATE } from '../flow/kernel-port.js';
import type { Memory } from '../flow/record.js';
import { ProcessNames } from './process-names.js';
import type { Run } from './run.js';
import type { OutputSettings, Settings } from './settings.js';
import { ascii, type TextBuffer } from './text-buffer.js';
import { writeSave } from './write-save.js';
import { eventTime, SEEN_IN_DUMP, TextWriter } from './write-text.js';
import { XML_HEAD, XML_TAIL, XmlWriter } from './write-xml.js';

/** Kinds of events as text, XML and commands tell them. */
const EVENT_TEXT: Readonly<Record<number, Uint8Array>> = {
  [EVENT_NEW]: ascii('    [NEW] '),
  [EVENT_UPDATE]: ascii(' [UPDATE] '),
  [EVENT_DESTROY]: ascii('[DESTROY] '),
};
const EVENT_XML: readonly string[] = ['new', 'update', 'destroy'];
const EVENT_COMMAND: readonly string[] = ['A', 'U', 'D'];
/** Microseconds of a clock that ticks in milliseconds come from the counter beside it. */
const MICROSECONDS = 1e6;

export class Printer {
  count = 0;
  readonly #out: TextBuffer;
  readonly #output: OutputSettings;
  readonly #text: TextWriter;
  readonly #xml: XmlWriter;
  /** Listings are one XML document; what an update or a delete shows are loose elements. */
  readonly #isDocument: boolean;
  readonly #saveLetter: string;
  readonly #processes = new ProcessNames();

  constructor(run: Run, settings: Settings) {
    this.#out = run.out;
    this.#output = settings.output;
    // What a delete shows has labels only when they are asked for, as in conntrack(8).
    const hasLabels = settings.letter !== 'D' || settings.output.hasLabels;
    const labels = hasLabels ? settings.labelMap : undefined;
    this.#text = new TextWriter(run.out, settings.output, labels);
    this.#xml = new XmlWriter(run.out, settings.output, labels);
    this.#isDocument = settings.letter !== 'D' && settings.letter !== 'U';
    this.#saveLetter = settings.letter === 'D' ? 'D' : 'A';
  }

  /** The clock by which ages are told; once for many flows. */
  tick(): void {
    const now = (performance.timeOrigin + performance.now()) / 1000;
    this.#text.now = now;
    this.#xml.now = now;
  }

  /** A flow of the table. */
  flow(m: Memory, at: number): void {
    this.#begin();
    if (this.#output.isXml) this.#xml.flow(m, at, SEEN_IN_DUMP);
    else if (this.#output.isSave) writeSave(this.#out, m, at, this.#saveLetter);
    else this.#text.flow(m, at, SEEN_IN_DUMP);
    this.#out.endLine();
  }

  /** A change, and who caused it. */
  event(kind: number, m: Memory, at: number, seen: number, portId: number): void {
    this.#begin();
    const out = this.#out;
    if (this.#output.isXml) this.#xml.flow(m, at, seen, EVENT_XML[kind]);
    else if (this.#output.isSave) writeSave(out, m, at, EVENT_COMMAND[kind]);
    else {
      if (this.#output.hasTimestamp) this.#stamp(eventTime(m, at) ?? this.#text.now);
      out.put(EVENT_TEXT[kind]);
      this.#text.flow(m, at, seen);
    }
    // A document of XML has no room for it.
    if (portId !== 0 && !this.#output.isXml) {
      out.text(' [USERSPACE] portid=');
      out.u32(portId);
      const name = this.#processes.of(portId, performance.now());
      if (name !== undefined) out.text(` progname=${name}`);
    }
    out.endLine();
  }

  #begin(): void {
    if (this.count++ === 0 && this.#output.isXml && this.#isDocument) this.#out.text(XML_HEAD);
  }

  /** "[seconds.microseconds]", a tab. */
  #stamp(now: number): void {
    const seconds = Math.floor(now);
    const micro = Math.floor((now - seconds) * MICROSECONDS);
    this.#out.text(`[${seconds}.${String(micro).padStart(6, '0')}]\t`);
  }

  /** Ends what was begun. */
  end(): void {
    if (this.count > 0 && this.#output.isXml && this.#isDocument) this.#out.text(XML_TAIL);
    this.#out.flush();
  }
}
