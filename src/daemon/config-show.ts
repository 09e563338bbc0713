import { stringify } from 'yaml';
import type { Config } from './config.js';

/** The configuration with every default, in the keys of the file: it may be saved and used as one. */
export function configInFileKeys(config: Config): Record<string, unknown> {
  const { node, links, security, kernel, replicate, failover, control, metrics } = config;
  return {
    node,
    links: links.map(({ group, peer, ...link }) => ({
      ...link,
      ...(group === undefined ? { peer } : { group }),
    })),
    security: security === 'none' ? 'none' : { key_file: security.keyFile },
    kernel: {
      event_buffer: sizeText(kernel.eventBufferBytes),
      audit_interval: timeText(kernel.auditIntervalMs),
    },
    replicate: { ignore: { addresses: replicate.ignoreAddresses } },
    failover: { standby: failover.standby, commit_timeout: timeText(failover.commitTimeoutMs) },
    control,
    metrics: metrics === undefined ? 'off' : { listen: listenText(metrics) },
    state_dir: config.stateDir,
  };
}

/** As configInFileKeys, in YAML. */
export function configAsYaml(config: Config): string {
  return stringify(configInFileKeys(config));
}

function sizeText(bytes: number): string | number {
  if (bytes % (1 << 20) === 0) return `${bytes >> 20}MiB`;
  return bytes % 1024 === 0 ? `${bytes >> 10}KiB` : bytes;
}

const timeText = (ms: number): string => (ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`);

function listenText({ host, port }: { host: string; port: number }): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
