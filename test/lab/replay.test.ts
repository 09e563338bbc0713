import { afterAll, beforeAll, expect, test } from 'vitest';
import { generate } from './background-flows.js';
import { eventually } from './deadline.js';
import { FirewallPair } from './firewall-pair.js';
import { kernelText, textDifference } from './kernel-text.js';
import type { LabDaemon } from './lab-daemon.js';
import { makeKeyFile } from './lab-keys.js';
import { chooseSeed } from './random.js';
import { sized } from './size.js';
import { StatusWatch, sightingsText } from './status-watch.js';
import { WireTap } from './wire-tap.js';

const FLOWS = 5000;
const MUTATED = sized(50_000, 1_000_000);
/** About what the receivers take besides their own work. */
const PER_SECOND = 20_000;
/** Part of the datagrams that must have been counted: a HELLO is answered, and a full receive buffer loses some. */
const LEAST_COUNTED = 0.75;
const VERIFY_WITHIN_MS = 10_000;
/** A real frame may be lost among so many: then the next MARK proves it. */
const UNPROVEN_MAX_MS = 3000;
/** What node's heap takes before it collects; a million datagrams are over a gigabyte. */
const MEMORY_GROWTH_MAX_BYTES = 100 << 20;

let pair: FirewallPair;
/** What was said while both nodes ran that have been restarted since. */
let former: WireTap;
beforeAll(async () => {
  let file: string | undefined;
  pair = await FirewallPair.create({
    firewalls: 3,
    config: (_, lab) => {
      file ??= makeKeyFile(lab, 'cluster');
      return { security: { key_file: file } };
    },
  });
  former = await WireTap.start(pair.lab, 'fw3', 'former');
  // With a join, a bulk, deltas of all kinds and deletes in it.
  await generate(pair.lab, 'fw1', 'create', FLOWS);
  await pair.fw2.kill();
  await pair.fw2.start();
  await pair.acquainted();
  await generate(pair.lab, 'fw1', 'update', FLOWS);
  await generate(pair.lab, 'fw1', 'delete', FLOWS / 2, { first: FLOWS / 2 });
  await pair.verified(VERIFY_WITHIN_MS);
  await former.stop();
});
afterAll(() => pair?.close());

/** All that frames from the link could have changed. */
async function believed(): Promise<object> {
  const [fw1, fw2] = await Promise.all([pair.fw1.status(), pair.fw2.status()]);
  const kernels = [await kernelText(pair.lab, 'fw1'), await kernelText(pair.lab, 'fw2')];
  return {
    nodes: [fw1, fw2].map((s) => ({
      role: s.role,
      term: s.term,
      incarnation: s.incarnation,
      mirror: [s.mirror.flows, s.mirror.digest],
      peers: s.peers.map((p) => [p.node, p.incarnation, p.role, p.alive, p.verdict]),
      replicas: s.replicas.map((r) => [r.node, r.incarnation, r.flows, r.digest, r.inSync]),
    })),
    kernels: kernels.map((lines) => lines.length),
    kernelDifference: textDifference(kernels[0].slice(0, FLOWS / 2), kernels[0]),
  };
}

/** Counters of refused input that grew between two looks, and how much in all. */
function refused(before: Record<string, number>, after: Record<string, number>): [number, string] {
  const grown = Object.entries(after)
    .filter(([name]) => /^(frame|join|control|stream)\.(?!mark-)/.test(name))
    .map(([name, count]) => [name, count - (before[name] ?? 0)] as const)
    .filter(([, count]) => count > 0);
  return [grown.reduce((sum, [, n]) => sum + n, 0), grown.map(([name, n]) => `${name} ${n}`).join(', ')];
}

/** Sends something hostile, and checks that it was counted, and that nothing is believed that was not before. */
async function withstand(attack: () => Promise<{ sent: number; durationMs: number }>): Promise<string> {
  const { fw1, fw2 } = pair;
  await pair.verified(VERIFY_WITHIN_MS);
  const before = await believed();
  const look = (daemon: LabDaemon) => daemon.status().then(({ counters }) => counters);
  const counted = [await look(fw1), await look(fw2)];
  const watch = StatusWatch.start([fw1, fw2]);
  const { sent, durationMs } = await attack();
  const texts: string[] = [];
  for (const [i, daemon] of [fw1, fw2].entries()) {
    await eventually(`${daemon.name} has counted them`, { withinMs: 20_000 }, async () => {
      const [count, text] = refused(counted[i], await look(daemon));
      texts[i] = `${daemon.name}: ${text}`;
      if (count < sent * LEAST_COUNTED) throw new Error(`${count} of ${sent}: ${text}`);
      return true;
    });
  }
  const sightings = await watch.stop();
  expect(sightings.map(({ from, to }) => `${from}>${to}`).sort()).toEqual(['fw1>fw2', 'fw2>fw1']);
  for (const { from, to, longestUnprovenMs } of sightings) {
    expect(longestUnprovenMs, `${from} by ${to}`).toBeLessThan(UNPROVEN_MAX_MS);
  }
  await pair.verified(VERIFY_WITHIN_MS);
  expect(await believed()).toEqual(before);
  return `${sent} datagrams in ${durationMs} ms; ${texts.join('; ')}; ${sightingsText(sightings)}`;
}

test('a session recorded before both daemons were restarted is refused, and counters say why', async ({
  task,
}) => {
  await pair.fw2.stop();
  await pair.fw1.stop();
  await Promise.all([pair.fw1.start(), pair.fw2.start()]);
  await pair.acquainted();
  Object.assign(task.meta, { note: await withstand(() => former.replay(PER_SECOND)) });
});

test('what is said now changes nothing when it is said twice', async ({ task }) => {
  const tap = await WireTap.start(pair.lab, 'fw3', 'present');
  await generate(pair.lab, 'fw1', 'update', FLOWS / 2);
  await pair.verified(VERIFY_WITHIN_MS);
  await tap.stop();
  Object.assign(task.meta, { note: await withstand(() => tap.replay(PER_SECOND)) });
});

test('a million spoilt copies (50,000 in an ordinary run) change nothing and fill no memory', async ({
  task,
}) => {
  const seed = chooseSeed();
  const tap = await WireTap.start(pair.lab, 'fw3', 'spoilt');
  await generate(pair.lab, 'fw1', 'update', FLOWS / 2);
  await pair.verified(VERIFY_WITHIN_MS);
  await tap.stop();
  const resident = () => [pair.fw1.residentBytes(), pair.fw2.residentBytes()];
  const before = resident();
  const note = await withstand(() => tap.mutate(PER_SECOND, MUTATED, seed)).catch((error: Error) => {
    throw new Error(`seed ${seed}: ${error.message}`, { cause: error });
  });
  const growth = resident().map((bytes, i) => bytes - before[i]);
  const grown = growth.map((bytes) => `${(bytes / (1 << 20)).toFixed(1)} MiB`).join(' and ');
  Object.assign(task.meta, { note: `seed ${seed}: ${note}; memory grew by ${grown}` });
  for (const bytes of growth) expect(bytes, grown).toBeLessThan(MEMORY_GROWTH_MAX_BYTES);
}, 300_000);
