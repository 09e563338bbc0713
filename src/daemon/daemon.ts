/** The daemon: opens what it needs, builds the core, runs it, and closes everything in reverse. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { notifySystemd } from '../../native/systemd-notify.js';
import type { LinkGroup } from '../channel/link-group.js';
import { ControlServer } from '../control/server.js';
import { CommitTimeouts } from '../failover/commit-timeouts.js';
import { CounterMap } from '../flow/counters.js';
import type { Log } from '../flow/log.js';
import { Kernel } from '../kernel/kernel.js';
import { RulesetReader } from '../kernel/ruleset.js';
import { readSysctl } from '../kernel/sysctl.js';
import { SLICE_BUDGET_MS } from '../limits.js';
import { DaemonBackend } from './backend.js';
import type { Config } from './config.js';
import { Core } from './core.js';
import { FlowChoice } from './flow-choice.js';
import { type Gate, NO_GATE, openGate } from './gate.js';
import { KernelSettings } from './kernel-settings.js';
import { Keys } from './keys.js';
import { LinkCheck } from './link-check.js';
import { linkAddresses, linkReports, openLinks, smallestMtu } from './links.js';
import { Logger, type LogThreshold } from './logger.js';
import { Loop } from './loop.js';
import { MetricsServer } from './metrics.js';
import { Operations } from './operations.js';
import { ReadyWatch } from './ready-watch.js';
import { Rehearsals } from './rehearsals.js';
import { reloadConfig } from './reload.js';
import { readBootId, StateFile } from './state-file.js';
import { statusReport } from './status-report.js';
import { TakeoverCheck } from './takeover-check.js';
import { TrackFile } from './track-file.js';
import { packageVersion } from './version.js';
import { Vrrp } from './vrrp.js';

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
    log('info', 'running', aboutRun(config, core));
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

/** What a log that is read later has to begin with. */
function aboutRun({ file, node, failover, replicate }: Config, core: Core): Record<string, unknown> {
  return {
    ...node,
    role: core.role,
    term: core.replicator.term,
    standby: failover.standby,
    mode: replicate.mode,
    version: packageVersion(),
    config: file,
  };
}

async function start(config: Config, logger: Logger, open: Closer[]): Promise<Core> {
  const { log } = logger;
  const counters = new CounterMap();
  const { eventBufferBytes } = config.kernel;
  let core: Core | undefined;
  const choice = new FlowChoice(config.replicate, linkAddresses(config), log, () => core?.auditSoon());
  open.push(choice);
  const kernel = Kernel.open({ eventBufferBytes, isPooled: true, filter: choice.events, counters, log });
  open.push(kernel);
  const keys = new Keys(config.security, log);
  let onHeard = () => {};
  const links = await openLinks(config, log, (u8, from, to, link) => {
    core?.receive(u8, from, to, link);
    onHeard();
  });
  open.push(links);
  const linkCheck = new LinkCheck(config.links);
  for (const reason of linkCheck.problems(performance.now()))
    log('warn', 'a link is not as configured', { reason });
  const gate = openGate(config, counters, log);
  if (gate !== undefined) open.push(gate);
  const stateFile = new StateFile(join(config.stateDir, `${config.node.name}.state`), log);
  stateFile.check();
  core = makeCore({ config, choice, kernel, links, keys, counters, log, gate, stateFile });
  let vrrp: Vrrp | undefined;
  const ready = watchReady(config, core, kernel, () => vrrp, log, open);
  const readLinks = () => links.read(SLICE_BUDGET_MS);
  const loop = new Loop(core, readLinks, (now) => ready.tick(now));
  onHeard = () => loop.heard();
  const operations = new Operations(core);
  const startedAt = performance.now();
  const status = () =>
    statusReport({
      core: core!,
      operations,
      counters,
      version: packageVersion(),
      startedAt,
      kernelMaximum: () => readSysctl('max') ?? 0,
      links: () => linkReports(config, links, core!.replicator.dataLink),
      loopMaxPauseMs: () => loop.maxPauseMs,
      loopMaxHeldMs: () => loop.maxHeldMs,
      gate: () => gate?.report ?? NO_GATE,
      sendKeyId: () => keys.sendKeyId,
      vrrp: () => vrrp,
      ready: () => ready,
      logProblem: () => logger.problem,
      stateProblem: () => stateFile.problem,
      linkProblems: () => linkCheck.problems(performance.now()),
    });
  const reload = () => reloadConfig(config, keys, log);
  const backend = new DaemonBackend({
    core,
    operations,
    counters,
    status,
    setLogLevel: (level) => logger.setLevel(level),
    reload,
    ready: async (isChecked) => (isChecked ? ready.checked() : ready.report()),
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
  open.push(new Rehearsals(core));
  vrrp = openVrrp(config, core, loop, { log, counters });
  if (vrrp !== undefined) open.push(vrrp);
  return core;
}

/** Is this node ready to take over, and what is missing here? */
function watchReady(
  { failover }: Config,
  core: Core,
  kernel: Kernel,
  vrrp: () => Vrrp | undefined,
  log: Log,
  open: Closer[],
): ReadyWatch {
  const check = new TakeoverCheck({
    table: core.table,
    kernel,
    events: () => readSysctl('events'),
    limit: () => readSysctl('max'),
    rules: () => new RulesetReader(),
  });
  open.push(check);
  const ready = new ReadyWatch({
    core,
    check,
    trackFile: failover.trackFile === undefined ? undefined : new TrackFile(failover.trackFile, log),
    vrrpProblems: () => vrrp()?.problems() ?? [],
    hotLagMs: () => (core.role === 'primary' ? undefined : core.standby.hot?.lagMs),
    log,
  });
  open.push(ready);
  return ready;
}

/** keepalived is listened to at the end: its word is followed from the first line on. */
function openVrrp(
  { file, failover }: Config,
  core: Core,
  loop: Loop,
  parts: { log: Log; counters: CounterMap },
): Vrrp | undefined {
  const { vrrpFifo, vrrpName } = failover;
  if (vrrpFifo === undefined) return undefined;
  return new Vrrp({
    ...parts,
    configFile: file,
    fifo: vrrpFifo,
    name: vrrpName,
    isRestored: core.options.restored !== undefined,
    role: () => core.role,
    change: (role) => core.roles.change(role),
    wake: () => loop.wake(),
  });
}

interface CoreParts {
  readonly config: Config;
  readonly choice: FlowChoice;
  readonly kernel: Kernel;
  readonly links: LinkGroup;
  readonly keys: Keys;
  readonly counters: CounterMap;
  readonly log: Log;
  readonly gate: Gate | undefined;
  readonly stateFile: StateFile;
}

function makeCore(parts: CoreParts): Core {
  const { config, choice, kernel, links, keys, counters, log, gate, stateFile } = parts;
  const bootId = readBootId();
  const restored = stateFile.read(bootId);
  const { commitTimeoutMs, timeoutFloorsS } = config.failover;
  const settings = new KernelSettings(() => performance.now());
  return new Core(
    {
      kernel,
      send: (frame, length, link) => links.send(frame, length, link),
      clock: () => performance.now(),
      wallClock: () => Date.now(),
      random: () => Math.random(),
      randomBytes: (n) => randomBytes(n),
      counters,
      log,
      persist: (state) => stateFile.write(state),
      settings: () => settings.read(),
      kernelMaximum: () => readSysctl('max') ?? 0,
      ...(keys.cipher === undefined ? {} : { cipher: keys.cipher }),
      ...(gate === undefined ? {} : { gate }),
    },
    {
      node: config.node.name,
      cluster: config.node.cluster,
      incarnation: randomBytes(16),
      bootId,
      mtu: smallestMtu(config),
      links: config.links.length,
      receiveBufferBytes: links.receiveBufferBytes,
      mode: config.replicate.mode,
      auditIntervalMs: config.kernel.auditIntervalMs,
      timeouts: new CommitTimeouts({
        establishedS: Math.ceil(commitTimeoutMs / 1000),
        floors: timeoutFloorsS,
        read: readSysctl,
      }),
      expectations: config.replicate.expectations,
      standby: config.failover.standby,
      purgeAfterMs: config.failover.purgeAfterMs,
      ...choice.options,
      ...(restored === undefined ? {} : { restored }),
    },
  );
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
