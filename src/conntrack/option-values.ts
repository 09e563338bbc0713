/** What each option's value means: one entry an option, which reads it into the settings. */
import { AF_INET, AF_INET6 } from '../flow/conntrack-enums.js';
import { ParameterError } from './errors.js';
import { LABELS_FILE } from './labels.js';
import { protocolSpec, stateNumber } from './protocols.js';
import {
  joinFamily,
  ON_ALL,
  ON_DESTROY,
  ON_NEW,
  ON_UPDATE,
  type Settings,
  type TupleSettings,
} from './settings.js';
import * as V from './values.js';

type Apply = (settings: Settings, written: string, value: string) => void;

const EVENT_WORDS = ['ALL', 'NEW', 'UPDATES', 'DESTROY'];
const EVENT_BITS = [ON_ALL, ON_NEW, ON_UPDATE, ON_DESTROY];
const OUTPUT_WORDS = [
  'xml',
  'extended',
  'timestamp',
  'id',
  'ktimestamp',
  'labels',
  'userspace',
  'save',
] as const;

type TupleName = 'original' | 'reply' | 'expected' | 'mask';

/** An address that may have its mask behind it. */
const masked =
  (tuple: TupleName, end: 'source' | 'destination'): Apply =>
  (settings, written, value) => {
    const { bytes, mask } = V.maskedAddress(written, value);
    joinFamily(settings, written, bytes);
    settings[tuple][end] = bytes;
    if (mask !== undefined) settings.mask[end] = mask;
  };

const plain =
  (tuple: TupleName, end: 'source' | 'destination'): Apply =>
  (settings, written, value) => {
    const bytes = V.address(written, value);
    joinFamily(settings, written, bytes);
    settings[tuple][end] = bytes;
  };

const end =
  (tuple: TupleName, place: 'first' | 'second'): Apply =>
  (settings, written, value) => {
    const ends: TupleSettings = settings[tuple];
    ends[place] = V.port(written, value);
  };

type NumberField =
  | 'icmpType'
  | 'icmpCode'
  | 'icmpId'
  | 'vtagOriginal'
  | 'vtagReply'
  | 'timeout'
  | 'id'
  | 'zone'
  | 'originalZone'
  | 'replyZone';

const numeric =
  (field: NumberField, max?: number): Apply =>
  (settings, written, value) => {
    settings[field] = V.number(written, value, max);
  };

const translated =
  (field: 'sourceNat' | 'destinationNat' | 'anyNat') =>
  (settings: Settings, written: string, value: string | undefined): void => {
    const to = V.translation(written, value);
    if (to.address !== undefined) joinFamily(settings, written, to.address);
    settings[field] = to;
  };

/** The bits of a list of labels. */
function labelBits(settings: Settings, written: string, value: string, before?: Uint8Array): Uint8Array {
  const { labelMap } = settings;
  if (labelMap === undefined) {
    throw new ParameterError(
      `${written}: no label has a name: list them in ${LABELS_FILE} or another --labelmap, as "1 name"`,
    );
  }
  const bits = before === undefined ? new Uint8Array(16) : Uint8Array.from(before);
  for (const name of value.split(',')) {
    const bit = labelMap.bit(name);
    if (bit === undefined) V.refuse(written, name, `a label of ${labelMap.file}`);
    bits[bit >>> 3] |= 1 << (bit & 7);
  }
  return bits;
}

function applyOutput(settings: Settings, written: string, value: string): void {
  const { output } = settings;
  for (const word of V.words(written, value, OUTPUT_WORDS)) {
    if (word === 'xml') output.isXml = true;
    else if (word === 'extended') output.isExtended = true;
    else if (word === 'timestamp') output.hasTimestamp = true;
    else if (word === 'id') output.hasId = true;
    else if (word === 'ktimestamp') output.hasKernelTimestamp = true;
    else if (word === 'labels') output.hasLabels = true;
    else if (word === 'save') output.isSave = true;
    // userspace: who caused an event is always told.
  }
  const { isXml, isExtended, hasTimestamp, hasId, hasKernelTimestamp, hasLabels } = output;
  if (output.isSave && (isXml || isExtended || hasTimestamp || hasId || hasKernelTimestamp || hasLabels)) {
    throw new ParameterError(`${written}: save is a form of its own: give -o save alone`);
  }
}

function applyFamily(settings: Settings, written: string, value: string): void {
  if (value !== 'ipv4' && value !== 'ipv6') V.refuse(written, value, 'ipv4 or ipv6');
  const family = value === 'ipv6' ? AF_INET6 : AF_INET;
  if (settings.family !== undefined && settings.family !== family) {
    throw new ParameterError(`${written}: ${value} does not go with the addresses given`);
  }
  settings.family = family;
}

function applyState(settings: Settings, written: string, value: string): void {
  const protocol = settings.protocol ?? 0;
  const states = protocolSpec(protocol).states ?? [];
  settings.state =
    stateNumber(protocol, value) ?? V.refuse(written, value, `a state: one of ${states.join(', ')}`);
}

const APPLY: Readonly<Record<string, Apply>> = {
  src: masked('original', 'source'),
  dst: masked('original', 'destination'),
  'reply-src': plain('reply', 'source'),
  'reply-dst': plain('reply', 'destination'),
  'tuple-src': masked('expected', 'source'),
  'tuple-dst': masked('expected', 'destination'),
  'mask-src': plain('mask', 'source'),
  'mask-dst': plain('mask', 'destination'),
  protonum: () => undefined, // read with the words: it decides which options there are
  family: applyFamily,
  timeout: numeric('timeout'),
  status: (settings, written, value) => {
    const { set, clear } = V.status(written, value);
    const before = settings.status ?? { set: 0, clear: 0 };
    settings.status = { set: before.set | set, clear: before.clear | clear };
  },
  mark: (settings, written, value) => {
    settings.mark = V.mark(written, value);
  },
  secmark: (_settings, written, value) => void V.number(written, value),
  id: numeric('id'),
  zone: numeric('zone', 0xffff),
  'orig-zone': numeric('originalZone', 0xffff),
  'reply-zone': numeric('replyZone', 0xffff),
  label: (settings, written, value) => {
    settings.labels = labelBits(settings, written, value, settings.labels);
  },
  'label-add': (settings, written, value) => {
    settings.labelsAdded = labelBits(settings, written, value, settings.labelsAdded);
  },
  labelmap: () => undefined, // read before all values: they name labels of it
  'event-mask': (settings, written, value) => {
    for (const word of V.words(written, value, EVENT_WORDS)) {
      settings.events |= EVENT_BITS[EVENT_WORDS.indexOf(word)];
    }
  },
  'buffer-size': (settings, written, value) => {
    settings.bufferBytes = V.number(written, value, 0x3fffffff);
  },
  output: applyOutput,
  'nat-range': () => undefined, // long without meaning; old scripts still have it
  state: applyState,
  role: (settings, written, value) => {
    if (value !== 'client' && value !== 'server') V.refuse(written, value, 'client or server');
    settings.isServer = value === 'server';
  },
  'orig-vtag': numeric('vtagOriginal'),
  'reply-vtag': numeric('vtagReply'),
  'icmp-type': numeric('icmpType', 0xff),
  'icmp-code': numeric('icmpCode', 0xff),
  'icmp-id': numeric('icmpId', 0xffff),
  'icmpv6-type': numeric('icmpType', 0xff),
  'icmpv6-code': numeric('icmpCode', 0xff),
  'icmpv6-id': numeric('icmpId', 0xffff),
  sport: end('original', 'first'),
  dport: end('original', 'second'),
  srckey: end('original', 'first'),
  dstkey: end('original', 'second'),
  'reply-port-src': end('reply', 'first'),
  'reply-port-dst': end('reply', 'second'),
  'reply-key-src': end('reply', 'first'),
  'reply-key-dst': end('reply', 'second'),
  'tuple-port-src': end('expected', 'first'),
  'tuple-port-dst': end('expected', 'second'),
  'tuple-key-src': end('expected', 'first'),
  'tuple-key-dst': end('expected', 'second'),
  'mask-port-src': end('mask', 'first'),
  'mask-port-dst': end('mask', 'second'),
  'mask-key-src': end('mask', 'first'),
  'mask-key-dst': end('mask', 'second'),
};

/** Options whose value may be absent. */
const APPLY_OPTIONAL: Readonly<
  Record<string, (settings: Settings, written: string, value: string | undefined) => void>
> = {
  'src-nat': translated('sourceNat'),
  'dst-nat': translated('destinationNat'),
  'any-nat': translated('anyNat'),
  'label-del': (settings, written, value) => {
    if (value === undefined) settings.labelsDeleted = 'all';
    else if (settings.labelsDeleted !== 'all') {
      settings.labelsDeleted = labelBits(settings, written, value, settings.labelsDeleted);
    }
  },
  zero: (settings) => {
    settings.isZeroing = true;
  },
};

/** Reads one option into the settings; throws ParameterError if its value is not possible. */
export function applyOption(
  settings: Settings,
  name: string,
  written: string,
  value: string | undefined,
): void {
  const optional = APPLY_OPTIONAL[name];
  if (optional !== undefined) optional(settings, written, value);
  else APPLY[name](settings, written, value ?? '');
}

/** Every option that has a meaning, for the test that none is forgotten. */
export const MEANT_OPTIONS: readonly string[] = [...Object.keys(APPLY), ...Object.keys(APPLY_OPTIONAL)];
