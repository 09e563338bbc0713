/** `conntwin drill` on a running core: a job that a role change ends. */
import type { FailoverReport } from '../control/messages.js';
import { Drill } from '../failover/drill.js';
import { seedFromText } from '../flow/hash.js';
import { commitProgress, drillReport } from './commit-reports.js';
import type { Core } from './core.js';
import { PRIORITY_CHECK } from './jobs.js';
import { runSteps, type Watch } from './steps.js';

/** What a promote would do now; nothing is changed. */
export function drill(core: Core, watch: Watch): Promise<FailoverReport> {
  let work: Drill | undefined;
  return runSteps(
    core.jobs,
    {
      name: 'drill',
      priority: PRIORITY_CHECK,
      step: (now) => {
        if (core.state === 'joining') return 'wait';
        work ??= makeDrill(core);
        return work.step(now) ? 'done' : 'more';
      },
      progress: () =>
        work?.progress
          ? commitProgress(`drill: ${work.phase}`, work.progress)
          : { phase: `drill: ${work?.phase ?? 'joining'}`, done: work?.rows ?? 0, total: 0 },
      result: () => drillReport(core.role, work!.report!, core.ports.wallClock()),
      stop: () => undefined,
    },
    watch,
  );
}

function makeDrill(core: Core): Drill {
  const { table, timeouts, stream, replicator, options } = core;
  const { kernel, clock, wallClock } = core.ports;
  timeouts.refresh();
  return new Drill(
    {
      kernel,
      table,
      seed: seedFromText(options.cluster),
      clock: () => clock(),
      timeouts,
      stream,
      ...(core.standby.hot ? { hot: core.standby.hot } : {}),
    },
    {
      role: core.role,
      term: replicator.term,
      wasPrimary: replicator.highestTerm > 0,
      wallClockMs: wallClock(),
    },
  );
}
