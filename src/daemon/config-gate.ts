/** The schema of `failover.gate`. */
import { z } from 'zod';
import { parseAddressBlock } from '../flow/address.js';
import type { GateConfig, PortRange } from './config.js';
import { INTERFACE_NAME, list, parsed, parsePorts, say, section, text } from './config-fields.js';

const INSTEAD = '`gate: none`, `gate: drop`, or `gate: { allow: { interfaces: [mgmt] } }`';
const one = (port: number): PortRange => ({ first: port, last: port });
/** Who manages a firewall comes by SSH. */
const TCP_PORTS = [one(22)];
/** BFD of one hop, its echo, and of many hops: a direction of it has no answers, and is new to conntrack for ever. */
const UDP_PORTS = [{ first: 3784, last: 3785 }, one(4784)];

const ports = (key: string, byDefault: readonly PortRange[]) =>
  list(
    parsed('a port or range of ports', 'one as `22` or `8000-8099`', parsePorts),
    `\`${key}: [22]\``,
  ).default(() => [...byDefault]);

const allow = section(
  {
    interfaces: list(
      text('an interface name', 'one as `mgmt`', (value) => INTERFACE_NAME.test(value)),
      '`interfaces: [mgmt]`',
    ),
    sources: list(
      text('an address or address/prefix', 'one as `192.0.2.1` or `10.0.0.0/8`', (value) => {
        return parseAddressBlock(value) !== undefined;
      }),
      '`sources: [192.0.2.0/24]`',
    ),
    tcp_ports: ports('tcp_ports', TCP_PORTS),
    udp_ports: ports('udp_ports', UDP_PORTS),
  },
  '`allow: { interfaces: [mgmt], tcp_ports: [22] }`',
).transform(({ tcp_ports: tcpPorts, udp_ports: udpPorts, ...rest }): GateConfig => {
  return { ...rest, tcpPorts, udpPorts };
});

/** Undefined: no gate. */
export const gateSchema = z
  .union([z.literal(['none', 'drop']), section({ allow: allow.prefault({}) }, INSTEAD)], {
    error: say('a gate', INSTEAD),
  })
  .default('none')
  .transform((value): GateConfig | undefined => {
    if (value === 'none') return undefined;
    return value === 'drop' ? allow.parse({}) : value.allow;
  });
