/** The measured run of one contender: a burst, updates, memory, commit, in a fresh lab. */
import { setTimeout as pause } from 'node:timers/promises';
import { generate } from '../lab/background-flows.js';
import type { GeneratorVerb } from '../lab/flow-generator.js';
import { Lab } from '../lab/lab.js';
import type { Contender } from './contender.js';
import { cpuMicros, type ProcessUsage, processUsage } from './process-usage.js';

export interface BasicsSizes {
  /** Flows of the burst, and updated afterwards. */
  readonly burst: number;
  /** Flows at which memory is read and which are committed; at least `burst`. */
  readonly full: number;
}

/** What is measured; NaN where the contender does not tell. */
export interface BasicsResult {
  /** Microseconds of CPU, user and system. */
  readonly createActiveUs: number;
  readonly createBackupUs: number;
  readonly updateActiveUs: number;
  readonly updateBackupUs: number;
  /** From the start of the burst until the backup has all, or no more came. */
  readonly burstMs: number;
  readonly burstMissing: number;
  readonly linkBytesPerFlow: number;
  readonly memoryActiveBytes: number;
  readonly memoryBackupBytes: number;
  readonly commitMs: number;
  readonly committed: number;
  readonly commitPerSecond: number;
  readonly kernelPerSecond: number;
  readonly commitShare: number;
  readonly pauseActiveMs: number;
  readonly pauseBackupMs: number;
}

const WARM_FLOWS = 150_000;
const SETTLE_POLL_MS = 100;
/** No change for this long: what is there is all that comes. */
const SETTLED_MS = 2000;
const SETTLE_LIMIT_MS = 120_000;

type Usages = readonly [ProcessUsage, ProcessUsage];

/** Runs one contender; the lab is made and removed. */
export class BasicsRun {
  private constructor(
    private readonly lab: Lab,
    private readonly contender: Contender,
    private readonly sizes: BasicsSizes,
    private readonly ticks: number,
  ) {}

  static async of(
    make: (lab: Lab) => Contender,
    sizes: BasicsSizes,
    ticks: number,
    onStep: (text: string) => void,
  ): Promise<BasicsResult> {
    const lab = await Lab.create({ flows: sizes.full });
    try {
      return await new BasicsRun(lab, make(lab), sizes, ticks).measure(onStep);
    } finally {
      await lab.close();
    }
  }

  private async measure(onStep: (text: string) => void): Promise<BasicsResult> {
    const { lab, contender, sizes } = this;
    const step = (text: string) => onStep(`${contender.name}: ${text}`);
    step('start');
    await contender.start();
    await pause(SETTLED_MS);
    const empty = this.usages();
    // Compilers, caches and allocators warm up: what is measured is a daemon that has run for a while.
    step('warm-up');
    await this.burst('create', WARM_FLOWS, sizes.full);
    await this.burst('delete', WARM_FLOWS, sizes.full);
    const warm = this.usages();
    step(`burst of ${sizes.burst} creations`);
    const bytesBefore = await lab.syncBytesSent('fw1');
    const burstMs = await this.burst('create', sizes.burst);
    const created = this.usages();
    const linkBytes = (await lab.syncBytesSent('fw1')) - bytesBefore;
    const burstMissing = sizes.burst - (await contender.replicated());
    step(`${sizes.burst} updates`);
    await this.burst('update', sizes.burst);
    const updated = this.usages();
    const [pauseActive, pauseBackup] = await contender.longestPauses();
    if (sizes.full > sizes.burst) {
      step(`filling up to ${sizes.full} flows`);
      await generate(lab, 'fw1', 'create', sizes.full - sizes.burst, { first: sizes.burst });
      await this.settled();
    }
    const full = this.usages();
    step('commit');
    const commitMs = await contender.commit();
    const committed = await lab.kernelFlows('fw2');
    await contender.stop();
    // What this kernel, with this firewall's rules, takes from a loop that does nothing else.
    step('the kernel alone');
    await lab.exec('fw2', ['conntrack', '-F']);
    const { perSecond } = await generate(lab, 'fw2', 'create', sizes.full);
    const commitPerSecond = (committed / commitMs) * 1000;
    const memory = (i: 0 | 1) => (full[i].residentBytes - empty[i].residentBytes) / sizes.full;
    const cpu = (i: 0 | 1, before: Usages, after: Usages) => cpuMicros(before[i], after[i]) / sizes.burst;
    return {
      createActiveUs: cpu(0, warm, created),
      createBackupUs: cpu(1, warm, created),
      updateActiveUs: cpu(0, created, updated),
      updateBackupUs: cpu(1, created, updated),
      burstMs,
      burstMissing,
      linkBytesPerFlow: linkBytes / sizes.burst,
      memoryActiveBytes: memory(0),
      memoryBackupBytes: memory(1),
      commitMs,
      committed,
      commitPerSecond,
      kernelPerSecond: perSecond,
      commitShare: (commitPerSecond / perSecond) * 100,
      pauseActiveMs: pauseActive ?? Number.NaN,
      pauseBackupMs: pauseBackup ?? Number.NaN,
    };
  }

  private usages(): Usages {
    const [active, backup] = this.contender.pids();
    return [processUsage(active, this.ticks), processUsage(backup, this.ticks)];
  }

  /** Makes the events at full speed and waits until they are worked off; milliseconds until the last change seen. */
  private async burst(verb: GeneratorVerb, count: number, first = 0): Promise<number> {
    const start = performance.now();
    await generate(this.lab, 'fw1', verb, count, { first });
    return (await this.settled()) - start;
  }

  /** Waits until neither the backup's flows nor the bytes on the link change; the time of the last change. */
  private async settled(): Promise<number> {
    const end = performance.now() + SETTLE_LIMIT_MS;
    let seen = '';
    let changedAt = performance.now();
    while (performance.now() - changedAt < SETTLED_MS && performance.now() < end) {
      // Heartbeats are a few thousand bytes a second: whole hundreds of thousands are data.
      const bytes = Math.floor((await this.lab.syncBytesSent('fw1')) / 100_000);
      const now = `${await this.contender.replicated()} ${bytes}`;
      if (now !== seen) changedAt = performance.now();
      seen = now;
      await pause(SETTLE_POLL_MS);
    }
    return changedAt;
  }
}
