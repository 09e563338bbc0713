/** The schema of `links`. */
import { z } from 'zod';
import { parseAddress } from '../flow/address.js';
import { FRAME_MAX_BYTES, LINKS_MAX, PEERS_MAX } from '../limits.js';
import type { LinkConfig } from './config.js';
import { INTERFACE_NAME, say, section, text, whole } from './config-fields.js';

/** Smallest MTU that every IPv6 host takes; some twenty flows fit. Bytes. */
const MTU_MIN_BYTES = 1280;
const INSTEAD = '`links: [ { interface: sync, address: 10.9.0.1, group: 225.0.0.50 } ]`';
const TARGETS = 'group, peer or peers';

/** Multicast leaves the host: ff00:: to ff01:: are reserved or stay on the interface. */
function isGroup(value: string): boolean {
  const bytes = parseAddress(value);
  if (bytes === undefined) return false;
  return bytes.length === 4 ? bytes[0] >>> 4 === 14 : bytes[0] === 0xff && (bytes[1] & 0xf) > 1;
}

function isUnicast(value: string): boolean {
  const bytes = parseAddress(value);
  if (bytes === undefined) return false;
  if (bytes.length === 4) return bytes[0] > 0 && bytes[0] < 224;
  return bytes[0] !== 0xff && bytes.some((byte) => byte !== 0);
}

const familyOf = (address: string): string => (address.includes(':') ? 'IPv6' : 'IPv4');

const peer = text('an IPv4 or IPv6 address', "the other node's address, as `peer: 10.9.0.2`", isUnicast);

const link = section(
  {
    interface: text('an interface name', 'the interface of the sync link, as `interface: sync`', (value) =>
      INTERFACE_NAME.test(value),
    ),
    address: text(
      'an IPv4 or IPv6 address',
      "this node's own address on the link, as `address: 10.9.0.1`",
      isUnicast,
    ),
    group: text('a multicast group', '`group: 225.0.0.50`, or `group: ff02::50`', isGroup).optional(),
    peer: peer.optional(),
    peers: z
      .array(peer, { error: say('a list', '`peers: [10.9.0.2, 10.9.0.3]`') })
      .min(1, { error: 'names nobody, write the other nodes, as `peers: [10.9.0.2, 10.9.0.3]`' })
      .max(PEERS_MAX, { error: `has more than ${PEERS_MAX} nodes, a cluster has no more` })
      .optional(),
    port: whole('a UDP port', '`port: 3780`', 1, 65_535).default(3780),
    mtu: whole("the link's MTU", '`mtu: 1500`', MTU_MIN_BYTES, FRAME_MAX_BYTES).default(1500),
  },
  '`- { interface: sync, address: 10.9.0.1, group: 225.0.0.50 }`',
)
  .superRefine((value, context) => {
    const say = (message: string, ...path: PropertyKey[]) =>
      context.addIssue({ code: 'custom', message, path, input: value });
    const { address, group } = value;
    const given = [group, value.peer, value.peers].filter((target) => target !== undefined);
    if (given.length === 0)
      say(`no ${TARGETS}, write \`group: 225.0.0.50\` for multicast, or the other address as \`peer:\``);
    if (given.length > 1)
      say(`more than one of ${TARGETS}, keep one: group is multicast, the others unicast`);
    if (group !== undefined && familyOf(group) !== familyOf(address))
      say(`is ${familyOf(group)} and the address is not, write both of one family`, 'group');
    for (const [at, each] of [value.peer, ...(value.peers ?? [])].entries()) {
      if (each === undefined) continue;
      const path = at === 0 ? ['peer'] : ['peers', at - 1];
      if (each === address) say("is this node's own address, write the other node's", ...path);
      if (familyOf(each) !== familyOf(address))
        say(`is ${familyOf(each)} and the address is not, write both of one family`, ...path);
      if (at > 0 && value.peers!.indexOf(each) !== at - 1) say('stands twice, leave one out', ...path);
    }
  })
  .transform(({ peer: one, peers, group, ...rest }): LinkConfig => {
    return { ...rest, group, peers: one === undefined ? (peers ?? []) : [one] };
  });

/** Two sockets cannot share a port on an interface, unless each has an address of its own. */
function isSamePlace(a: LinkConfig, b: LinkConfig): boolean {
  if (a.interface !== b.interface || a.port !== b.port) return false;
  if (familyOf(a.address) !== familyOf(b.address)) return false;
  return a.group !== undefined || b.group !== undefined || a.address === b.address;
}

/** One to LINKS_MAX links, in the order of preference. */
export const linksSchema = z
  .array(link, { error: say('a list of links', INSTEAD) })
  .min(1, { error: `no link, write ${INSTEAD}` })
  .max(LINKS_MAX, { error: `has more than ${LINKS_MAX} links, keep the best ones` })
  .superRefine((links, context) => {
    links.forEach((one, at) => {
      const before = links.findIndex((other) => isSamePlace(one, other));
      if (before === at) return;
      const message = `uses the interface and port of links[${before}], write another interface or port`;
      context.addIssue({ code: 'custom', message, path: [at], input: one });
    });
  });
