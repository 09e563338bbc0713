/** A cluster that is left in peace: how long until every backup's kernel has what it is to have, and no more. */
import type { Cluster } from './cluster.js';
import type { DaemonRun } from './daemon-run.js';
import type { StandbyShape } from './standby-shape.js';
import { Violation } from './violation.js';

/** Time in which a hot kernel is in step with its primary. Milliseconds. */
const IN_STEP_MS = 25_000;
/** PROTOCOL.md, invariant 9, and a purge's own time. Milliseconds. */
const PURGED_MS = 5000 + 2000;

/** Throws a Violation of 4 or 9. */
export async function restStandby(cluster: Cluster, shape: StandbyShape): Promise<void> {
  if (shape.isPurging) await until(cluster, 9, shape.purgeAfterMs + PURGED_MS, true);
  if (!shape.hot.includes(true)) return;
  // A child that was created without its master is made anew when an audit finds it so.
  for (const run of cluster.liveRuns) {
    if (unsettledOne(cluster, run, false) !== undefined) run.core.auditSoon();
    run.news();
  }
  await until(cluster, 4, IN_STEP_MS, false);
}

async function until(
  cluster: Cluster,
  invariant: 4 | 9,
  patienceMs: number,
  isPurged: boolean,
): Promise<void> {
  const end = cluster.schedule.now + patienceMs;
  for (;;) {
    const why = unsettled(cluster, isPurged);
    if (why === undefined) return;
    if (cluster.schedule.now > end) throw new Violation(invariant, `${patienceMs} ms after peace: ${why}`);
    await cluster.pass(100);
  }
}

function unsettled(cluster: Cluster, isPurged: boolean): string | undefined {
  for (const run of cluster.liveRuns) {
    const why = unsettledOne(cluster, run, isPurged);
    if (why !== undefined) return why;
  }
  return undefined;
}

const unsettledOne = (cluster: Cluster, run: DaemonRun, isPurged: boolean): string | undefined =>
  cluster.watch.standby.unsettled(cluster.machineOf(run), run, isPurged);
