/** The daemon: opens what it needs, builds the core, runs it, and closes everything in reverse. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { notifySystemd } from '../../native/systemd-notify.js';
import { MulticastChannel } from '../channel/multicast-channel.js';
import type { LinkReport, ReloadReport } from '../control/messages.js';
import { ControlServer } from '../control/server.js';
import { TCP_ESTABLISHED_DEFAULT_S } from '../failover/judge.js';
import { CounterMap } from '../flow/counters.js';
import type { Log } from '../flow/log.js';
import { Kernel } from '../kernel/kernel.js';
import { readSysctl } from '../kernel/sysctl.js';
import { DaemonBackend } from './backend.js';
import { type Config, ConfigError } from './config.js';
import { loadConfig } from './config-load.js';
import { Core } from './core.js';
import { ignoreAddresses } from './ignored-addresses.js';
import { Logger, type LogThreshold } from './logger.js';
import { Loop } from './loop.js';
import { MetricsServer } from './metrics.js';
import { Operations } from './operations.js';
import { readBootId, StateFile } from './state-file.js';
import { statusReport } from './status-report.js';
import { packageVersion } from './version.js';

export interface DaemonOptions {
  readonly logLevel?: LogThreshold;
}

interface Closer {
  close(): void;
}

/** Runs until SIGTERM or SIGINT. Resolves with the exit code; rejects with what could not be opened. */
export async function runDaemon(config: Config, options: DaemonOptions = {}): Promise<number> {
  const logger = new Logger({ level: options.logLevel ?? 'info' });
  const { log } = logger;
  const open: Closer[] = [];
  try {
    const core = await start(config, logger, open);
    log('info', 'running', { node: config.node.name, cluster: config.node.cluster, role: core.role });
    notify('READY=1');
    const signal = await endSignal();
    log('info', 'stopping', { signal });
    notify('STOPPING=1');
    return 0;
  } finally {
    for (const each of open.reverse()) each.close();
    logger.flush();
  }
}

async function start(config: Config, logger: Logger, open: Closer[]): Promise<Core> {
  const { log } = logger;
  const counters = new CounterMap();
  const { eventBufferBytes } = config.kernel;
  const kernel = Kernel.open({ eventBufferBytes, isPooled: true, counters, log });
  open.push(kernel);
  let core: Core | undefined;
  const link = config.links[0];
  const channel = await MulticastChannel.open(
    {
      interface: link.interface,
      address: link.address,
      port: link.port,
      mtu: link.mtu,
      ...(link.group === undefined ? { peer: link.peer! } : { group: link.group }),
    },
    (u8, from, to) => core?.receive(u8, from, to, 0),
  );
  open.push(channel);
  core = makeCore(config, kernel, channel, counters, log);
  const loop = new Loop(core);
  const operations = new Operations(core);
  const isSealed = warnUnsealed(config, log);
  const startedAt = performance.now();
  const status = () =>
    statusReport({
      core: core!,
      operations,
      counters,
      version: packageVersion(),
      startedAt,
      kernelMaximum: () => readSysctl('max') ?? 0,
      links: () => [linkReport(config, channel)],
      loopMaxPauseMs: () => loop.maxPauseMs,
      isSealed,
    });
  const reload = () => reloadConfig(config, log);
  const backend = new DaemonBackend({
    core,
    operations,
    counters,
    status,
    setLogLevel: (level) => logger.setLevel(level),
    reload,
    wake: () => loop.wake(),
  });
  open.push(
    await ControlServer.listen(config.control.socket, backend, {
      count: (reason) => counters.count(reason),
      onError: (call, error) => log('error', 'control call failed', { call, reason: String(error) }),
    }),
  );
  if (config.metrics !== undefined) {
    open.push(await MetricsServer.listen(config.metrics.host, config.metrics.port, status));
  }
  const onHangup = () => {
    try {
      reload();
    } catch {
      // Said in the log; the old configuration goes on.
    }
  };
  process.on('SIGHUP', onHangup);
  open.push({ close: () => process.off('SIGHUP', onHangup) });
  kernel.start(() => loop.wake());
  loop.start();
  open.push({ close: () => loop.stop() });
  operations.resume();
  return core;
}

function makeCore(
  config: Config,
  kernel: Kernel,
  channel: MulticastChannel,
  counters: CounterMap,
  log: Log,
): Core {
  const bootId = readBootId();
  const stateFile = new StateFile(join(config.stateDir, `${config.node.name}.state`), log);
  const restored = stateFile.read(bootId);
  const { commitTimeoutMs } = config.failover;
  const link = config.links[0];
  const own = [link.address, ...(link.peer === undefined ? [] : [link.peer])];
  return new Core(
    {
      kernel,
      send: (frame, length) => channel.send(frame, length),
      clock: () => performance.now(),
      wallClock: () => Date.now(),
      random: () => Math.random(),
      randomBytes: (n) => randomBytes(n),
      counters,
      log,
      persist: (state) => stateFile.write(state),
    },
    {
      node: config.node.name,
      cluster: config.node.cluster,
      incarnation: randomBytes(16),
      bootId,
      mtu: link.mtu,
      auditIntervalMs: config.kernel.auditIntervalMs,
      tcpEstablishedS:
        commitTimeoutMs > 0
          ? Math.ceil(commitTimeoutMs / 1000)
          : (readSysctl('tcp_timeout_established') ?? TCP_ESTABLISHED_DEFAULT_S),
      ignore: ignoreAddresses([...own, '127.0.0.1', '::1', ...config.replicate.ignoreAddresses]),
      ...(restored === undefined ? {} : { restored }),
    },
  );
}

/** False, and said once: frames are not sealed in this version, with or without a key. */
function warnUnsealed(config: Config, log: Log): boolean {
  const why = config.security === 'none' ? 'security is none' : 'this version does not use the key yet';
  log('warn', 'the sync link is not sealed: keep it on a cable of its own', { why });
  return false;
}

function linkReport(config: Config, channel: MulticastChannel): LinkReport {
  const link = config.links[0];
  const { counters } = channel;
  return {
    interface: link.interface,
    address: link.address,
    group: link.group ?? link.peer ?? '',
    port: link.port,
    mtu: link.mtu,
    isUp: channel.ifindex !== 0 && counters.lastError === undefined,
    framesSent: counters.sentFrames,
    framesReceived: counters.receivedFrames,
    bytesSent: counters.sentBytes,
    bytesReceived: counters.receivedBytes,
  };
}

/** Reads the file again and says what only a restart would change: nothing takes effect at once in this version. */
function reloadConfig(config: Config, log: Log): ReloadReport {
  try {
    const now = loadConfig(config.file);
    const needsRestart = (Object.keys(config) as (keyof Config)[]).filter(
      (key) => JSON.stringify(config[key]) !== JSON.stringify(now[key]),
    );
    log('info', 'configuration read again', { needsRestart });
    return { changed: [], needsRestart };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    log('error', 'the new configuration has errors, going on with the old one', { errors: error.message });
    throw error;
  }
}

function notify(state: string): void {
  const path = process.env.NOTIFY_SOCKET;
  if (path !== undefined) notifySystemd(path, state);
}

function endSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => resolve(name));
  });
}
