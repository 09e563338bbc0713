/** Flows as text, in every form there is: lines of conntrack(8), its commands and XML, JSON, and an aligned table. */
import { TextBuffer } from '../conntrack/text-buffer.js';
import { writeSave } from '../conntrack/write-save.js';
import { SEEN_IN_DUMP, TextWriter } from '../conntrack/write-text.js';
import { XML_HEAD, XML_TAIL, XmlWriter } from '../conntrack/write-xml.js';
import { flowFromRecord } from '../flow/flow.js';
import { OWNER_HELD, OWNER_NONE, OWNER_WORDS } from '../flow/owner-mark.js';
import type { Memory } from '../flow/record.js';
import { formatJson } from '../flow/text.js';
import type { About } from '../flow/where/fields.js';
import { FlowColumns } from './flow-columns.js';
import type { Terminal } from './terminal.js';

export const FORMATS = ['table', 'conntrack', 'extended', 'save', 'xml', 'json'] as const;
export type Format = (typeof FORMATS)[number];

const PLAIN = {
  isXml: false,
  isSave: false,
  hasId: false,
  hasTimestamp: false,
  hasKernelTimestamp: false,
  hasLabels: false,
};

export class FlowPrinter {
  count = 0;
  readonly #format: Format;
  readonly #terminal: Terminal;
  #text = '';
  readonly #buffer = new TextBuffer((bytes) => {
    this.#text += Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
  });
  readonly #lines: TextWriter;
  readonly #xml: XmlWriter;
  readonly #columns: FlowColumns;

  constructor(terminal: Terminal, format: Format) {
    this.#terminal = terminal;
    this.#format = format;
    const output = { ...PLAIN, isExtended: format === 'extended' };
    this.#lines = new TextWriter(this.#buffer, output, undefined);
    this.#xml = new XmlWriter(this.#buffer, output, undefined);
    this.#columns = new FlowColumns(terminal.screenColumns());
  }

  take(m: Memory, at: number, about: About): void {
    const isFirst = this.count++ === 0;
    switch (this.#format) {
      case 'json':
        this.#text += `${flowJson(m, at, about)}\n`;
        return;
      case 'table':
        this.#text += this.#columns.row(flowFromRecord(m, at), about);
        return;
      case 'save':
        writeSave(this.#buffer, m, at, 'A');
        break;
      case 'xml':
        if (isFirst) this.#buffer.text(XML_HEAD);
        this.#xml.now = about.now;
        this.#xml.flow(m, at, SEEN_IN_DUMP);
        break;
      default:
        this.#lines.now = about.now;
        this.#lines.flow(m, at, SEEN_IN_DUMP);
    }
    this.#buffer.endLine();
  }

  /** Writes what has piled up, at the reader's pace. */
  async flush(): Promise<void> {
    this.#buffer.flush();
    const text = this.#text;
    this.#text = '';
    if (text !== '') await this.#terminal.out(text);
  }

  /** Ends what was begun. */
  async end(): Promise<void> {
    if (this.#format === 'xml' && this.count > 0) this.#buffer.text(XML_TAIL);
    if (this.#format === 'table') this.#text += this.#columns.rest();
    await this.flush();
  }
}

/** One line of JSON; what nobody knows the owner of says nothing about it. */
export function flowJson(m: Memory, at: number, about: About): string {
  const flow = formatJson(flowFromRecord(m, at));
  if (about.owner === OWNER_NONE) return flow;
  const node = about.owner < OWNER_HELD ? '' : `,"node":${JSON.stringify(about.node)}`;
  return `${flow.slice(0, -1)},"owner":"${OWNER_WORDS[about.owner]}"${node}}`;
}
