import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { LinkHeard, LinkReport, StatusReport } from '../control/messages.js';
import { METRICS_CONNECTIONS_MAX } from '../limits.js';

const REQUEST_TIMEOUT_MS = 5000;
const HEADERS_MAX_BYTES = 8192;
/** The timer of prom-client's histogram of event loop delays; its own default is 10. Milliseconds. */
const LAG_TIMER_MS = 1000;
/** What it is shown by, which at this pace would say nothing. */
const LAG_KINDS = ['min', 'max', 'mean', 'stddev', 'p50', 'p90', 'p99'];

/** A metrics listener that cannot be opened; the message says what to do. */
export class MetricsError extends Error {
  override readonly name = 'MetricsError';
}

/** One number of a status by label; the labels' values come before the number. */
type Reading = [labels: Record<string, string>, value: number];

/** Two links may use one interface, with an address each. */
const LINK = ['interface', 'address'];
const labelsOf = ({ interface: name, address }: LinkReport) => ({ interface: name, address });

function heardReadings(status: StatusReport, read: (heard: LinkHeard) => number): Reading[] {
  return status.links.flatMap((link) =>
    link.heard.map((heard): Reading => {
      const ms = read(heard);
      return [{ ...labelsOf(link), peer: heard.node }, ms < 0 ? Number.NaN : ms / 1000];
    }),
  );
}

/** Gauges by name, without the prefix: help, label names, and how a status is read. */
const GAUGES: Record<string, [help: string, labels: string[], read: (status: StatusReport) => Reading[]]> = {
  up: ['1, with node and cluster as labels', ['node', 'cluster', 'version'], (s) => [[pick(s), 1]]],
  role: ['1 for the role this node has', ['role'], (s) => [[{ role: s.role }, 1]]],
  loop_max_pause_seconds: [
    'The longest that a timer was late, whoever had the CPU',
    [],
    (s) => [[{}, s.loopMaxPauseMs / 1000]],
  ],
  loop_max_held_seconds: [
    'The longest that the daemon can have held its event loop itself',
    [],
    (s) => [[{}, s.loopMaxHeldMs / 1000]],
  ],
  term: ['Term of the role', [], (s) => [[{}, s.term]]],
  split_brain: [
    '1 while another node is primary beside this one',
    [],
    (s) => [[{}, Number(s.splitBrain.length > 0)]],
  ],
  mirror_ready: ['1 when the first dump is whole', [], (s) => [[{}, Number(s.mirrorReady)]]],
  kernel_flows: ['Flows of the table that the kernel has', [], (s) => [[{}, s.kernel.flows]]],
  mirror_flows: ['Flows this node owns', [], (s) => [[{}, s.mirror.flows]]],
  table_slots: ['Slots in use, all owners', [], (s) => [[{}, s.table.slots]]],
  table_bytes: ['Memory of the table', [], (s) => [[{}, s.table.bytes]]],
  stream_sequence: ['Last frame of the own stream', [], (s) => [[{}, s.mirror.sequence]]],
  peer_alive: [
    '1 when the peer was heard',
    ['peer'],
    (s) => s.peers.map((p) => [{ peer: p.node }, Number(p.alive)]),
  ],
  peer_proven: [
    '1 when the peer said its replica of this node is proven',
    ['peer'],
    (s) => s.peers.map((p) => [{ peer: p.node }, Number(p.verdict === 'proven')]),
  ],
  peer_lag_seconds: [
    'How far the peer is behind',
    ['peer'],
    (s) => s.peers.map((p) => [{ peer: p.node }, p.lagMs / 1000]),
  ],
  replica_flows: [
    'Flows of a peer kept here',
    ['peer'],
    (s) => s.replicas.map((r) => [{ peer: r.node }, r.flows]),
  ],
  replica_in_sync: [
    '1 when the replica is proven equal to its owner',
    ['peer'],
    (s) => s.replicas.map((r) => [{ peer: r.node }, Number(r.inSync)]),
  ],
  link_up: ['1 when the link works', LINK, (s) => s.links.map((l) => [labelsOf(l), Number(l.isUp)])],
  link_data: [
    '1 when the link carries the data',
    LINK,
    (s) => s.links.map((l) => [labelsOf(l), Number(l.isData)]),
  ],
  link_silent_seconds: [
    'Since a live peer was heard on the link; NaN: not for a minute, or never',
    [...LINK, 'peer'],
    (s) => heardReadings(s, ({ silentMs }) => silentMs),
  ],
  link_deaf_seconds: [
    'Since a live peer heard this node on the link; NaN: not for a minute, or never',
    [...LINK, 'peer'],
    (s) => heardReadings(s, ({ hearsUsMs }) => hearsUsMs),
  ],
  sealing_key_id: ['Id of the key that frames are sealed with; 0: none', [], (s) => [[{}, s.sendKeyId]]],
  settings_differing: [
    "Settings of a peer's kernel that are not this one's",
    ['peer'],
    (s) =>
      s.peers.map(({ node: peer }) => [{ peer }, s.settingsDiffering.filter((d) => d.node === peer).length]),
  ],
  hot_lag_seconds: [
    'Hot standby: age of the oldest change that the kernel has not got',
    [],
    (s) => [[{}, s.standby.lagMs / 1000]],
  ],
  hot_waiting_changes: ['Hot standby: changes that wait', [], (s) => [[{}, s.standby.waiting]]],
  hot_held_flows: [
    'Hot standby: flows of the primary that the kernel has',
    [],
    (s) => [[{}, s.standby.held]],
  ],
  ready: ['1 when this node may take over without a loss', [], (s) => [[{}, Number(s.ready.isReady)]]],
  vrrp_fifo_held: [
    '1 when keepalived has the FIFO open',
    [],
    (s) => (s.vrrp === null ? [] : [[{}, Number(s.vrrp.isHeld)]]),
  ],
  quarantined_records: ['Refused records that are kept', [], (s) => [[{}, s.quarantined]]],
};

/** Counters by name, as GAUGES. */
const COUNTERS: typeof GAUGES = {
  events_lost_total: ['Kernel events lost', [], (s) => [[{}, s.mirror.eventsLost]]],
  audits_total: ['Audits that ended', [], (s) => [[{}, s.audit.runs]]],
  audit_repairs_total: ['Flows an audit put right', [], (s) => [[{}, s.audit.repaired]]],
  purged_flows_total: ['Flows purged from the kernel', [], (s) => [[{}, s.purge.purged]]],
  hot_writes_total: [
    'Hot standby: what was written to the kernel',
    ['kind'],
    ({ standby }) =>
      (['created', 'updated', 'replaced', 'deleted', 'reinjected', 'refused'] as const).map((kind) => [
        { kind },
        standby[kind],
      ]),
  ],
  frames_sent_total: ['Frames sent', LINK, (s) => s.links.map((l) => [labelsOf(l), l.framesSent])],
  frames_received_total: [
    'Frames received',
    LINK,
    (s) => s.links.map((l) => [labelsOf(l), l.framesReceived]),
  ],
  sent_bytes_total: ['Bytes sent', LINK, (s) => s.links.map((l) => [labelsOf(l), l.bytesSent])],
  received_bytes_total: ['Bytes received', LINK, (s) => s.links.map((l) => [labelsOf(l), l.bytesReceived])],
  link_send_errors_total: ['Frames not sent', LINK, (s) => s.links.map((l) => [labelsOf(l), l.sendErrors])],
  link_reopened_total: [
    'Times the link was opened anew',
    LINK,
    (s) => s.links.map((l) => [labelsOf(l), l.reopened]),
  ],
  reasons_total: [
    'What was counted by reason: malformed, refused, dropped',
    ['reason'],
    (s) => Object.entries(s.counters).map(([reason, value]) => [{ reason }, value]),
  ],
};

function pick({ node, cluster, version }: StatusReport): Record<string, string> {
  return { node, cluster, version };
}

/** The status as Prometheus text, read anew at every scrape; GET /metrics, nothing else. */
export class MetricsServer {
  readonly #registry = new Registry();
  readonly #server: Server;
  readonly #status: () => StatusReport;
  /** Read once a scrape: a status walks peers and sums, and there are two dozen readings. */
  #scraped: StatusReport | undefined;

  private constructor(status: () => StatusReport) {
    this.#status = status;
    this.#register();
    this.#server = createServer({ maxHeaderSize: HEADERS_MAX_BYTES }, (request, response) => {
      this.#answer(request, response).catch(() => response.destroy());
    });
    this.#server.maxConnections = METRICS_CONNECTIONS_MAX;
    this.#server.requestTimeout = REQUEST_TIMEOUT_MS;
    this.#server.headersTimeout = REQUEST_TIMEOUT_MS;
  }

  /** Listens; port 0 chooses one. Throws MetricsError if the address is taken or not ours. */
  static async listen(host: string, port: number, status: () => StatusReport): Promise<MetricsServer> {
    const metrics = new MetricsServer(status);
    await new Promise<void>((resolve, reject) => {
      metrics.#server.once('error', (cause: NodeJS.ErrnoException) => {
        const where = `${host}:${port}`;
        const advice = 'write another metrics.listen, or `metrics: off`';
        reject(new MetricsError(`cannot listen on ${where} (${cause.code}): ${advice}`, { cause }));
      });
      metrics.#server.listen(port, host, resolve);
    });
    return metrics;
  }

  get port(): number {
    const address = this.#server.address();
    return address !== null && typeof address === 'object' ? address.port : 0;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
    this.#registry.clear();
  }

  #register(): void {
    const registers = [this.#registry];
    const status = () => (this.#scraped ??= this.#status());
    this.#registerDefaults();
    for (const [name, [help, labelNames, read]] of Object.entries(GAUGES)) {
      new Gauge({
        name: `conntwin_${name}`,
        help,
        labelNames,
        registers,
        collect() {
          this.reset();
          for (const [labels, value] of read(status())) this.set(labels, value);
        },
      });
    }
    for (const [name, [help, labelNames, read]] of Object.entries(COUNTERS)) {
      new Counter({
        name: `conntwin_${name}`,
        help,
        labelNames,
        registers,
        collect() {
          this.reset();
          for (const [labels, value] of read(status())) this.inc(labels, value);
        },
      });
    }
  }

  /**
   * Node's own figures, less those of a timer that would wake the process a hundred times a second, all day, to find out
   * how late it is: `loop_max_pause_seconds` says that.
   */
  #registerDefaults(): void {
    const prefix = 'conntwin_';
    collectDefaultMetrics({ register: this.#registry, prefix, eventLoopMonitoringPrecision: LAG_TIMER_MS });
    for (const kind of LAG_KINDS) {
      this.#registry.removeSingleMetric(`${prefix}nodejs_eventloop_lag_${kind}_seconds`);
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.url !== '/metrics' || (request.method !== 'GET' && request.method !== 'HEAD')) {
      response.writeHead(404, { 'Content-Type': 'text/plain', Connection: 'close' }).end('see /metrics\n');
      return;
    }
    this.#scraped = undefined;
    const text = await this.#registry.metrics();
    response.writeHead(200, { 'Content-Type': this.#registry.contentType }).end(text);
  }
}
