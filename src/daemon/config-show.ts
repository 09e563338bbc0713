import { stringify } from 'yaml';
import { PROTOCOL_NAMES } from '../flow/conntrack-enums.js';
import type { Config, FlowConditions, GateConfig, PortRange, ReplicateConfig } from './config.js';

/** The configuration with every default, in the keys of the file: it may be saved and used as one. */
export function configInFileKeys(config: Config): Record<string, unknown> {
  const { node, links, security, kernel, replicate, failover, control, metrics } = config;
  return {
    node,
    links: links.map(({ group, peers, ...link }) => ({
      ...link,
      ...(group === undefined ? { peers } : { group }),
    })),
    security: security === 'none' ? 'none' : { keys: security.keys, send: security.sendKeyId },
    kernel: {
      event_buffer: sizeText(kernel.eventBufferBytes),
      audit_interval: timeText(kernel.auditIntervalMs),
    },
    replicate: replicateInFileKeys(replicate),
    failover: failoverInFileKeys(failover),
    control,
    metrics: metrics === undefined ? 'off' : { listen: listenText(metrics) },
    state_dir: config.stateDir,
  };
}

function failoverInFileKeys(failover: Config['failover']): Record<string, unknown> {
  const { standby, commitTimeoutMs, timeoutFloorsS, gate } = failover;
  const floors = Object.entries(timeoutFloorsS).map(([protocol, seconds]) => [protocol, `${seconds}s`]);
  return {
    standby,
    commit_timeout: timeText(commitTimeoutMs),
    purge_after: timeText(failover.purgeAfterMs),
    timeout_floors: Object.fromEntries(floors),
    vrrp_fifo: failover.vrrpFifo ?? null,
    vrrp_name: failover.vrrpName ?? null,
    track_file: failover.trackFile ?? null,
    gate: gate === undefined ? 'none' : { allow: gateInFileKeys(gate) },
  };
}

/** As configInFileKeys, in YAML. */
export function configAsYaml(config: Config): string {
  return stringify(configInFileKeys(config));
}

function replicateInFileKeys(replicate: ReplicateConfig): Record<string, unknown> {
  const { mode, expectations, tcpStates, status, minAgeMs, direction, ignore } = replicate;
  return {
    mode,
    expectations,
    ...conditionsInFileKeys(replicate),
    tcp_states: tcpStates,
    status,
    min_age: timeText(minAgeMs),
    direction,
    ignore: { ...conditionsInFileKeys(ignore), local: ignore.local },
  };
}

function gateInFileKeys({ interfaces, sources, tcpPorts, udpPorts }: GateConfig): Record<string, unknown> {
  return {
    interfaces,
    sources,
    tcp_ports: tcpPorts.map(portsInFileKeys),
    udp_ports: udpPorts.map(portsInFileKeys),
  };
}

const portsInFileKeys = ({ first, last }: PortRange) => (first === last ? first : `${first}-${last}`);

function conditionsInFileKeys(conditions: FlowConditions): Record<string, unknown> {
  const { protocols, addresses, ports, zones, marks } = conditions;
  const hex = (value: number) => `0x${value.toString(16)}`;
  return {
    protocols: protocols.map((number) => PROTOCOL_NAMES.get(number) ?? number),
    addresses,
    ports: ports.map(portsInFileKeys),
    zones,
    marks: marks.map(({ value, mask }) => `${hex(value)}/${hex(mask)}`),
  };
}

function sizeText(bytes: number): string | number {
  if (bytes % (1 << 20) === 0) return `${bytes >> 20}MiB`;
  return bytes % 1024 === 0 ? `${bytes >> 10}KiB` : bytes;
}

const timeText = (ms: number): string => (ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`);

function listenText({ host, port }: { host: string; port: number }): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
