/** What an operator reads in the logs of two nodes afterwards: each event once, with names and numbers. */
import { beforeEach, describe, expect, it } from 'vitest';
import { CoreCluster, type CoreNode } from './core-cluster.js';

const FLOWS = 50;

let cluster: CoreCluster;
let fw1: CoreNode;
let fw2: CoreNode;

/** The lines since the last look that are not of level debug, with those fields that a time or a random number is no part of. */
function said(node: CoreNode): string[] {
  const lines = node.logged.map((line, i) => {
    const { peer, role, was, flows, total, sources, reasons, peers } = node.fields[i];
    const shown = { peer, role, was, flows, total, sources, reasons, peers };
    return `${line} ${JSON.stringify(shown).replaceAll('"', '')}`;
  });
  node.logged.length = 0;
  node.fields.length = 0;
  return lines.filter((line) => !line.startsWith('debug'));
}

beforeEach(async () => {
  cluster = new CoreCluster(['fw1', 'fw2']);
  [fw1, fw2] = cluster.nodes;
  await cluster.begin();
  for (let n = 0; n < FLOWS; n++) fw1.born(n);
  await cluster.until('all is replicated', () => fw2.up.table.count === FLOWS && cluster.isInStep());
});

describe('the log', () => {
  it('of a planned switch names both roles, on both nodes, and how many flows went over', async () => {
    for (const node of cluster.nodes) said(node);
    await cluster.done(fw1.demote());
    await cluster.done(fw2.promote());
    await cluster.until('fw2 has all', () => fw1.mirrorFlows === 0 && cluster.isInStep());
    await cluster.run(3000);
    expect(said(fw1)).toEqual([
      'info: demote: done {role:backup,was:primary}',
      'info: peer: role {peer:fw2,role:primary,flows:0}',
      'info: peer: suspect {peer:fw2,role:primary,flows:0}',
      'info: a peer took over flows of this node {}',
      `info: peer: in-sync {peer:fw2,role:primary,flows:${FLOWS}}`,
    ]);
    expect(said(fw2)).toEqual([
      `info: peer: role {peer:fw1,role:backup,flows:${FLOWS}}`,
      'info: peer: suspect {peer:fw1,role:backup,flows:0}',
      `info: promote: takes over {flows:${FLOWS},sources:[fw1]}`,
      `info: promote: done {total:${FLOWS},sources:[fw1]}`,
      'info: peer: in-sync {peer:fw1,role:backup,flows:0}',
    ]);
  });

  it('of a failover says who fell silent, with what, and who took over', async () => {
    for (const node of cluster.nodes) said(node);
    fw1.kill();
    await cluster.run(2000);
    await cluster.done(fw2.promote());
    await cluster.run(1000);
    expect(said(fw2)).toEqual([
      `warn: peer: silent {peer:fw1,role:primary,flows:${FLOWS}}`,
      'info: peer: suspect {peer:fw1,role:primary,flows:0}',
      `info: promote: takes over {flows:${FLOWS},sources:[fw1]}`,
      `info: promote: done {total:${FLOWS},sources:[fw1]}`,
    ]);
  });

  it('of a split brain that heals tells it once on each node, and calls what follows no promote', async () => {
    fw1.kill();
    await cluster.run(2000);
    await cluster.done(fw2.promote());
    for (const node of cluster.nodes) said(node);
    fw1.start();
    await cluster.run(3000);
    const splitBrain = 'error: split brain: another node is primary too, make one of them backup';
    for (const [node, peer] of [
      [fw1, 'fw2'],
      [fw2, 'fw1'],
    ] as const) {
      expect(said(node).filter((line) => !line.startsWith('info'))).toEqual([`${splitBrain} {peer:${peer}}`]);
    }
    await cluster.done(fw1.demote());
    await cluster.until('it is absorbed', () => fw2.up.roles.lastAbsorb !== undefined);
    await cluster.until('fw2 has all', () => fw1.mirrorFlows === 0 && cluster.isInStep());
    const lines = said(fw2);
    expect(lines).toContain('info: absorb: done {total:0,sources:[fw1]}');
    expect(lines.filter((line) => line.includes('promote'))).toEqual([]);
    expect(lines.filter((line) => line.includes('the split brain is over'))).toHaveLength(1);
  });

  it('of a link that was cut accuses nobody of being slow, and says when all is as before', async () => {
    for (const node of cluster.nodes) said(node);
    cluster.cut();
    await cluster.run(1000);
    fw1.born(FLOWS);
    await cluster.run(4000);
    cluster.network.heal();
    await cluster.until('both are in step', () => cluster.isInStep());
    await cluster.run(5000);
    expect(said(fw1)).toEqual([
      'warn: peer: silent {peer:fw2,role:backup,flows:0}',
      'info: peer: heard {peer:fw2,role:backup,flows:0}',
      'info: a receiver that was away catches up: the stream goes on without it {peer:fw2}',
      'info: a receiver keeps up again {peer:fw2}',
    ]);
    expect(said(fw2)).toEqual([
      `warn: peer: silent {peer:fw1,role:primary,flows:${FLOWS}}`,
      `info: peer: heard {peer:fw1,role:primary,flows:${FLOWS}}`,
      'info: a receiver that was away catches up: the stream goes on without it {peer:fw1}',
      'info: a receiver keeps up again {peer:fw1}',
    ]);
  });

  it('of a node that hears nobody says so', async () => {
    cluster.cut();
    for (const node of [fw1, fw2]) node.kill();
    said(fw2);
    fw2.start();
    await cluster.run(5000);
    expect(said(fw2)).toEqual([
      'info: joined {role:backup,peers:0}',
      'warn: no peer is heard: nothing is replicated {role:backup}',
    ]);
  });
});
