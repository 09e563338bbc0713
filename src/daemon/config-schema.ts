import { dirname } from 'node:path';
import { z } from 'zod';
import { DEFAULT_FLOORS } from '../failover/commit-timeouts.js';
import {
  EVENT_BUFFER_DEFAULT_BYTES,
  NAME_MAX_BYTES,
  NAME_PATTERN,
  SOCKET_PATH_MAX_BYTES,
} from '../limits.js';
import { DEFAULT_CONTROL_SOCKET, DEFAULT_METRICS_LISTEN } from './config.js';
import { absolutePath, parsed, say, section, text, within } from './config-fields.js';
import { gateSchema } from './config-gate.js';
import { linksSchema } from './config-links.js';
import { replicateSchema } from './config-replicate.js';
import { securitySchema } from './config-security.js';
import { parseDuration, parseListen, parseSize } from './config-units.js';

/** Some fifty events: a smaller event buffer loses events at rest. Bytes. */
const EVENT_BUFFER_MIN_BYTES = 64 << 10;
/** The kernel takes a signed int, doubled. Bytes. */
const EVENT_BUFFER_MAX_BYTES = 1 << 30;
const VRRP_NAME = /^[^\s"]{1,255}$/;
const EXAMPLE_FIFO = '/run/conntwin/vrrp.fifo';
const AUDIT_INTERVAL_MIN_MS = 1000;
/** Two looks at a flow's timer, which tells seconds, must lie between. Milliseconds. */
const PURGE_AFTER_MIN_MS = 1000;
const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

const name = (of: string, example: string) =>
  text(
    `a name (letters, digits, dot, dash, underscore; at most ${NAME_MAX_BYTES})`,
    `the name of the ${of}, as \`${example}\``,
    (value) => NAME_PATTERN.test(value) && value.length <= NAME_MAX_BYTES,
  );

const METRICS_INSTEAD = `\`metrics: { listen: ${DEFAULT_METRICS_LISTEN} }\`, or \`metrics: off\``;

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
    event_buffer: parsed('a size from 64KiB to 1GiB', '`event_buffer: 64MiB`', (value) =>
      within(parseSize(value), EVENT_BUFFER_MIN_BYTES, EVENT_BUFFER_MAX_BYTES),
    ).default(EVENT_BUFFER_DEFAULT_BYTES),
    audit_interval: parsed('a time from 1s to 1d', '`audit_interval: 60s`', (value) =>
      within(parseDuration(value), AUDIT_INTERVAL_MIN_MS, DAY_MS),
    ).default(60_000),
  },
  '`kernel: { event_buffer: 64MiB }`, or leave it out',
);

/** A floor of timeouts, as whole seconds. */
const floor = (protocol: keyof typeof DEFAULT_FLOORS) =>
  parsed('a time from 0 to 1h, in whole seconds', `\`${protocol}: 30s\``, (value) => {
    const ms = within(parseDuration(value), 0, HOUR_MS);
    return ms === undefined || ms % 1000 !== 0 ? undefined : ms / 1000;
  }).default(DEFAULT_FLOORS[protocol]);
function purgeTime(value: string): number | undefined {
  const ms = parseDuration(value);
  return ms === 0 ? 0 : within(ms, PURGE_AFTER_MIN_MS, DAY_MS);
}

const failover = section(
  {
    standby: z
      .enum(['cold', 'hot'], { error: say('a way to stand by', '`standby: cold` or `standby: hot`') })
      .default('cold'),
    commit_timeout: parsed('a time from 0 to 1d', '`commit_timeout: 0`, or a time as `180s`', (value) =>
      within(parseDuration(value), 0, DAY_MS),
    ).default(0),
    purge_after: parsed('0 (never) or a time from 1s to 1d', '`purge_after: 60s`', purgeTime).default(60_000),
    timeout_floors: section(
      {
        tcp: floor('tcp'),
        udp: floor('udp'),
        sctp: floor('sctp'),
        icmp: floor('icmp'),
        other: floor('other'),
      },
      '`timeout_floors: { tcp: 30s, udp: 30s }`, or leave it out',
    ).prefault({}),
    vrrp_fifo: absolutePath('a FIFO', `vrrp_fifo: ${EXAMPLE_FIFO}`).nullable().default(null),
    vrrp_name: text(
      'the name of a vrrp_sync_group or vrrp_instance',
      'it as it stands in keepalived.conf, as `vrrp_name: edge`',
      (value) => VRRP_NAME.test(value),
    )
      .nullable()
      .default(null),
    track_file: absolutePath('a file', 'track_file: /run/conntwin/ready').nullable().default(null),
    gate: gateSchema,
  },
  '`failover: { commit_timeout: 0 }`, or leave it out',
).superRefine(({ vrrp_fifo: fifo, vrrp_name: name, track_file: file }, context) => {
  const say = (message: string, path: string, input: unknown) =>
    context.addIssue({ code: 'custom', message, path: [path], input });
  if (name !== null && fifo === null)
    say(`names whom to follow, and no FIFO, write \`vrrp_fifo: ${EXAMPLE_FIFO}\` too`, 'vrrp_name', name);
  if (file !== null && file === fifo)
    say('is the FIFO too, write another path, as `track_file: /run/conntwin/ready`', 'track_file', file);
});

/** The YAML file's shape; unknown keys are refused. */
export const configSchema = section(
  {
    node: section(
      { name: name('node', 'name: fw1'), cluster: name('cluster, the same on every node', 'cluster: edge') },
      '`node: { name: fw1, cluster: edge }`',
    ),
    links: linksSchema,
    security: securitySchema,
    kernel: kernel.prefault({}),
    replicate: replicateSchema.prefault({}),
    failover: failover.prefault({}),
    control: section(
      {
        socket: absolutePath('a socket', `socket: ${DEFAULT_CONTROL_SOCKET}`, SOCKET_PATH_MAX_BYTES).default(
          DEFAULT_CONTROL_SOCKET,
        ),
      },
      `\`control: { socket: ${DEFAULT_CONTROL_SOCKET} }\`, or leave it out`,
    ).prefault({}),
    metrics,
    state_dir: absolutePath('a directory', 'state_dir: /run/conntwin').optional(),
  },
  'the sections node, links and security (see the sample config/conntwin.yaml)',
).transform((value) => ({ ...value, state_dir: value.state_dir ?? dirname(value.control.socket) }));

/** Keys that the design names and this version does not have yet. */
export const LATER_KEYS: ReadonlySet<string> = new Set(['failover.hot']);
