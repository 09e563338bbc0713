import { isIP, isIPv4 } from 'node:net';
import { dirname, isAbsolute } from 'node:path';
import { z } from 'zod';
import { EVENT_BUFFER_DEFAULT_BYTES, FRAME_MAX_BYTES, NAME_MAX_BYTES } from '../limits.js';
import { DEFAULT_CONTROL_SOCKET, DEFAULT_METRICS_LISTEN } from './config.js';
import { parseDuration, parseListen, parseSize } from './config-units.js';

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;
const INTERFACE = /^[^\s/]{1,15}$/;
/** Smallest MTU that every IPv4 host takes; half a dozen flows fit. Bytes. */
const MTU_MIN_BYTES = 576;
/** One page short of nothing: a smaller event buffer loses events at rest. Bytes. */
const EVENT_BUFFER_MIN_BYTES = 128 << 10;
/** The kernel takes a signed int, doubled. Bytes. */
const EVENT_BUFFER_MAX_BYTES = 1 << 30;
const AUDIT_INTERVAL_MIN_MS = 1000;
const DAY_MS = 86_400_000;

/** Text of a schema's problem: what is wrong with the input, and what to write instead. */
const say =
  (what: string, instead: string) =>
  ({ input }: { input?: unknown }): string =>
    input === undefined ? `missing, write ${instead}` : `${shown(input)} is not ${what}, write ${instead}`;

function shown(input: unknown): string {
  const text = JSON.stringify(input) ?? String(input);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** A text or number that `parse` understands (undefined: it does not), as what it stands for. */
function parsed<Value>(what: string, instead: string, parse: (text: string) => Value | undefined) {
  const error = say(what, instead);
  return z.union([z.string(), z.number()], { error }).transform((input, context): Value => {
    const value = parse(String(input));
    if (value !== undefined) return value;
    context.addIssue({ code: 'custom', message: error({ input }), input });
    return z.NEVER;
  });
}

function text(what: string, instead: string, isRight: (text: string) => boolean) {
  const error = say(what, instead);
  return z.string({ error }).refine(isRight, { error });
}

function whole(what: string, instead: string, minimum: number, maximum: number) {
  const error = say(`${what} (${minimum} to ${maximum})`, instead);
  return z.number({ error }).int({ error }).min(minimum, { error }).max(maximum, { error });
}

/** Today only this value; `later` says what the others wait for. */
function only<const Value extends string | number | boolean | null>(value: Value, later: string) {
  const error = ({ input }: { input?: unknown }) =>
    `${shown(input)} is not supported yet (${later}), write ${shown(value).replaceAll('"', '')} or leave it out`;
  return z.literal(value, { error }).optional();
}

function section<Shape extends z.ZodRawShape>(shape: Shape, instead: string) {
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? undefined : say('a section', instead)(issue)),
  });
}

const name = (of: string, example: string) =>
  text(
    `a name (letters, digits, dot, dash, underscore; at most ${NAME_MAX_BYTES})`,
    `the name of the ${of}, as \`${example}\``,
    (value) => NAME.test(value) && value.length <= NAME_MAX_BYTES,
  );

const isMulticast = (address: string): boolean => {
  const first = Number(address.split('.', 1)[0]);
  return isIPv4(address) && first >= 224 && first <= 239;
};
const isUnicast = (address: string): boolean => {
  const first = Number(address.split('.', 1)[0]);
  return isIPv4(address) && first > 0 && first < 224;
};
const absolutePath = (what: string, instead: string) =>
  text(`${what} (an absolute path)`, `\`${instead}\``, (value) => isAbsolute(value) && !value.includes('\0'));

const link = section(
  {
    interface: text('an interface name', 'the interface of the sync link, as `interface: sync`', (value) =>
      INTERFACE.test(value),
    ),
    address: text(
      'an IPv4 address',
      "this node's own address on the link, as `address: 10.9.0.1`",
      isUnicast,
    ),
    group: text('an IPv4 multicast group', '`group: 225.0.0.50`', isMulticast).optional(),
    peer: text('an IPv4 address', "the other node's address, as `peer: 10.9.0.2`", isUnicast).optional(),
    port: whole('a UDP port', '`port: 3780`', 1, 65_535).default(3780),
    mtu: whole("the link's MTU", '`mtu: 1500`', MTU_MIN_BYTES, FRAME_MAX_BYTES).default(1500),
  },
  '`- { interface: sync, address: 10.9.0.1, group: 225.0.0.50 }`',
).superRefine((value, context) => {
  if ((value.group === undefined) === (value.peer === undefined)) {
    const message =
      value.group === undefined
        ? 'neither group nor peer, write `group: 225.0.0.50` for multicast, or the other address as `peer:`'
        : 'both group and peer, leave one out: group for multicast, peer for unicast';
    context.addIssue({ code: 'custom', message, input: value });
  }
  if (value.peer !== undefined && value.peer === value.address) {
    const message = "is this node's own address, write the other node's";
    context.addIssue({ code: 'custom', message, path: ['peer'], input: value.peer });
  }
});

const LINKS_INSTEAD = '`links: [ { interface: sync, address: 10.9.0.1, group: 225.0.0.50 } ]`';
const SECURITY_INSTEAD = '`security: none`, or `security: { key_file: /etc/conntwin/key }`';
const METRICS_INSTEAD = `\`metrics: { listen: ${DEFAULT_METRICS_LISTEN} }\`, or \`metrics: off\``;

const security = z.union(
  [
    z.literal('none'),
    z.strictObject({ key_file: absolutePath('a key file', 'key_file: /etc/conntwin/key') }),
  ],
  { error: say('a choice', SECURITY_INSTEAD) },
);

const metrics = z
  .union(
    [
      z.null(),
      z.literal(['off', false]),
      z.strictObject({
        listen: parsed('an address and port', `\`listen: ${DEFAULT_METRICS_LISTEN}\``, parseListen),
      }),
    ],
    { error: say('a listener', METRICS_INSTEAD) },
  )
  .default(() => ({ listen: parseListen(DEFAULT_METRICS_LISTEN)! }))
  .transform((value) => (value && typeof value === 'object' ? value.listen : undefined));

const kernel = section(
  {
    event_buffer: parsed('a size from 128KiB to 1GiB', '`event_buffer: 64MiB`', (value) =>
      within(parseSize(value), EVENT_BUFFER_MIN_BYTES, EVENT_BUFFER_MAX_BYTES),
    ).default(EVENT_BUFFER_DEFAULT_BYTES),
    audit_interval: parsed('a time from 1s to 1d', '`audit_interval: 60s`', (value) =>
      within(parseDuration(value), AUDIT_INTERVAL_MIN_MS, DAY_MS),
    ).default(60_000),
  },
  '`kernel: { event_buffer: 64MiB }`, or leave it out',
);

const address = text(
  'an IPv4 or IPv6 address',
  'one exact address, as `192.0.2.1`',
  (value) => isIP(value) > 0,
);

const replicate = section(
  {
    ignore: section(
      {
        addresses: z
          .array(address, { error: say('a list', '`addresses: [192.0.2.1, 2001:db8::1]`') })
          .default([]),
        local: only(false, "finding this node's own flows comes later"),
      },
      '`ignore: { addresses: [192.0.2.1] }`',
    ).default({ addresses: [] }),
    expectations: only('none', 'expectations come later'),
  },
  '`replicate: { ignore: { addresses: [192.0.2.1] } }`, or leave it out',
);

const failover = section(
  {
    standby: only('cold', 'hot standby comes later'),
    commit_timeout: parsed('a time from 0 to 1d', '`commit_timeout: 0`, or a time as `180s`', (value) =>
      within(parseDuration(value), 0, DAY_MS),
    ).default(0),
    vrrp_fifo: only(null, 'use the notify script of config/keepalived'),
    gate: only('none', 'the gate comes later'),
  },
  '`failover: { commit_timeout: 0 }`, or leave it out',
);

/** The YAML file's shape; unknown keys are refused. */
export const configSchema = section(
  {
    node: section(
      { name: name('node', 'name: fw1'), cluster: name('cluster, the same on every node', 'cluster: edge') },
      '`node: { name: fw1, cluster: edge }`',
    ),
    links: z
      .array(link, { error: say('a list of links', LINKS_INSTEAD) })
      .min(1, { error: `no link, write ${LINKS_INSTEAD}` })
      .max(1, { error: 'more than one link is not supported yet, keep the best one' }),
    security,
    kernel: kernel.prefault({}),
    replicate: replicate.prefault({}),
    failover: failover.prefault({}),
    control: section(
      {
        socket: absolutePath('a socket', `socket: ${DEFAULT_CONTROL_SOCKET}`).default(DEFAULT_CONTROL_SOCKET),
      },
      `\`control: { socket: ${DEFAULT_CONTROL_SOCKET} }\`, or leave it out`,
    ).prefault({}),
    metrics,
    state_dir: absolutePath('a directory', 'state_dir: /run/conntwin').optional(),
  },
  'the sections node, links and security (see the sample config/conntwin.yaml)',
).transform((value) => ({ ...value, state_dir: value.state_dir ?? dirname(value.control.socket) }));

/** Keys that the design names and this version does not have yet. */
export const LATER_KEYS: ReadonlySet<string> = new Set([
  'replicate.protocols',
  'replicate.tcp_states',
  'replicate.mode',
  'failover.purge_after',
  'failover.hot',
  'security.keys',
  'kernel.filter',
]);

function within(value: number | undefined, minimum: number, maximum: number): number | undefined {
  return value !== undefined && value >= minimum && value <= maximum ? value : undefined;
}
