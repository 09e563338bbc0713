/** Shows expectations in the form that was asked for: a line, with its time or without, or XML. */
import { type Expectation, expectationFromRecord, formatExpectation } from '../flow/expectation-text.js';
import type { Tuple } from '../flow/flow.js';
import { EVENT_DESTROY, EVENT_NEW, EVENT_UPDATE } from '../flow/kernel-port.js';
import type { Memory } from '../flow/record.js';
import { protocolNumber } from './protocols.js';
import type { Run } from './run.js';
import type { OutputSettings } from './settings.js';

const HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<expect>\n';
const TAIL = '</expect>\n';
const FLAGS = ['permanent', 'inactive', 'userspace'];
const EVENT_TEXT: Readonly<Record<number, string>> = {
  [EVENT_NEW]: '    [NEW] ',
  [EVENT_UPDATE]: ' [UPDATE] ',
  [EVENT_DESTROY]: '[DESTROY] ',
};
const EVENT_XML: readonly string[] = ['new', 'update', 'destroy'];

const tag = (name: string, inner: string | number): string => `<${name}>${inner}</${name}>`;
const addresses = (name: string, { source, destination }: Tuple): string =>
  tag(name, tag('src', source) + tag('dst', destination));

function ports(name: string, { sourcePort, destinationPort }: Tuple): string {
  if (sourcePort === undefined || destinationPort === undefined) return tag(name, '');
  return tag(name, tag('sport', sourcePort) + tag('dport', destinationPort));
}

/** One element, without a line's end; `type` is that of an event. */
function expectationXml(e: Expectation, type?: string): string {
  const parts = { expected: e.tuple, mask: e.mask, master: e.master };
  const inside = (write: (name: string, tuple: Tuple) => string) =>
    Object.entries(parts)
      .map(([name, tuple]) => write(name, tuple))
      .join('');
  const family = `protonum="${e.family === 'ipv6' ? 10 : 2}" protoname="${e.family}"`;
  const protocol = `protonum="${protocolNumber(e.protocol) ?? e.protocol}" protoname="${e.protocol}"`;
  const flags = FLAGS.filter((_, bit) => (e.flags & (1 << bit)) !== 0).map((name) => `<${name}/>`);
  const meta = [
    e.helper === undefined ? '' : tag('helper-name', e.helper),
    e.timeout === undefined ? '' : tag('timeout', e.timeout),
    tag('class', e.class),
    e.zone === undefined ? '' : tag('zone', e.zone),
    ...flags,
  ];
  const head = type === undefined ? '<flow>' : `<flow type="${type}">`;
  const layer3 = `<layer3 ${family}>${inside(addresses)}</layer3>`;
  const layer4 = `<layer4 ${protocol}>${inside(ports)}</layer4>`;
  return `${head}${layer3}${layer4}${tag('meta', meta.join(''))}</flow>`;
}

export class ExpectationPrinter {
  count = 0;
  readonly #run: Run;
  readonly #output: OutputSettings;

  constructor(run: Run, output: OutputSettings) {
    this.#run = run;
    this.#output = output;
  }

  /** The packed expectation at `at`; `kind` is EVENT_* of a change. */
  show(m: Memory, at: number, kind?: number): void {
    const { out } = this.#run;
    const { isXml, hasTimestamp } = this.#output;
    const expectation = expectationFromRecord(m, at);
    if (this.count++ === 0 && isXml) out.text(HEAD);
    if (isXml) out.text(expectationXml(expectation, kind === undefined ? undefined : EVENT_XML[kind]));
    else {
      if (hasTimestamp) out.text(`[${((performance.timeOrigin + performance.now()) / 1000).toFixed(6)}]\t`);
      out.text((kind === undefined ? '' : EVENT_TEXT[kind]) + formatExpectation(expectation));
    }
    out.endLine();
  }

  /** Ends what was begun. */
  end(): void {
    if (this.count > 0 && this.#output.isXml) this.#run.out.text(TAIL);
    this.#run.out.flush();
  }
}
