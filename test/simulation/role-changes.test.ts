/** What nodes do to each other when roles change: planned switches, split brain and its heal, crashes in the middle. */
import { beforeEach, describe, expect, it } from 'vitest';
import { CoreCluster, type CoreNode } from './core-cluster.js';

const FLOWS = 300;

let cluster: CoreCluster;
let fw1: CoreNode;
let fw2: CoreNode;

async function pair(): Promise<void> {
  cluster = new CoreCluster(['fw1', 'fw2']);
  [fw1, fw2] = cluster.nodes;
  await cluster.begin();
  for (let n = 0; n < FLOWS; n++) fw1.born(n);
  await cluster.until('all is replicated', () => fw2.up.table.count === FLOWS && cluster.isInStep());
}

describe('a role that cannot be written down', () => {
  beforeEach(pair);

  it('is taken all the same, and the report says what a restart would do', async () => {
    fw1.isDiskFull = true;
    const report = await cluster.done(fw1.demote());
    expect(report).toMatchObject({ role: 'backup', exitCode: 3 });
    expect(report.reasons).toEqual([
      'a restart of the daemon would take the role from before again: no space left',
    ]);
    expect(fw1.logged).toContain('error: the state could not be written');
    fw2.isDiskFull = true;
    const { role, exitCode, reasons } = await cluster.done(fw2.promote());
    expect({ role, exitCode }).toEqual({ role: 'primary', exitCode: 3 });
    expect(reasons).toContain('a crash would forget the role: no space left');
    await cluster.until('both are in step', () => cluster.isInStep());
  });
});

describe('a split brain', () => {
  beforeEach(pair);

  /** Both are primary, apart; each goes on with its own traffic. */
  async function split(): Promise<void> {
    cluster.cut();
    await cluster.run(1500);
    await cluster.done(fw2.promote());
    for (const node of [fw1, fw2]) expect(node.twin.flows.count).toBe(FLOWS);
    fw1.born(1001);
    fw2.born(1002);
    fw1.die(1);
    fw2.die(2);
    fw1.mark(3, 31);
    fw2.mark(4, 42);
    fw1.mark(5, 51);
    fw2.mark(5, 52);
    await cluster.run(3000);
    cluster.network.heal();
    await cluster.run(1000);
  }

  for (const [loser, winner] of [
    ['fw1', 'fw2'],
    ['fw2', 'fw1'],
  ]) {
    it(`heals when ${loser} steps back: nothing born on it is lost, nothing ended on ${winner} returns`, async () => {
      await split();
      const [l, w] = loser === 'fw1' ? [fw1, fw2] : [fw2, fw1];
      const other = (n: number) => (loser === 'fw1' ? n : [0, 2, 1, 4, 3][n]);
      expect((await cluster.done(l.demote())).exitCode).toBe(0);
      await cluster.until('it is absorbed', () => w.up.roles.lastAbsorb !== undefined && l.mirrorFlows === 0);
      await cluster.until('both are in step', () => cluster.isInStep());
      expect(w.mirrorFlows).toBe(FLOWS + 1);
      expect(w.markOf(1001)).toBe(0);
      expect(w.markOf(1002)).toBe(0);
      // Ended on the winner; on the loser it had not changed.
      expect(w.markOf(other(2))).toBeUndefined();
      // Ended on the loser only.
      expect(w.markOf(other(1))).toBe(0);
      expect(w.markOf(5)).toBe(loser === 'fw1' ? 52 : 51);
      expect(w.markOf(other(4))).toBe(loser === 'fw1' ? 42 : 31);
      // Changed on the loser only.
      if (loser === 'fw1') expect(w.markOf(3)).toBe(31);
      // Born on the loser, and what it has changed: nothing is looked at twice.
      expect(w.absorbed).toEqual([1, 2]);
      const { lastAbsorb } = w.up.roles;
      expect(lastAbsorb).toMatchObject({ sources: [loser], rejected: 0 });
      expect(l.up.role).toBe('backup');
      expect(w.up.replicator.term).toBeGreaterThanOrEqual(l.peer(winner).term);
    });
  }

  it('heals in no other way when the winner is promoted again as soon as the loser has stepped back', async () => {
    await split();
    await cluster.done(fw2.demote());
    await cluster.run(5);
    expect(await cluster.done(fw1.promote())).toMatchObject({
      exitCode: 3,
      reasons: ['fw2 was primary too, its flows come over in a moment'],
    });
    await cluster.until('all is handed over', () => fw2.mirrorFlows === 0 && cluster.isInStep());
    expect([fw1.markOf(1002), fw1.markOf(1), fw1.mirrorFlows]).toEqual([0, undefined, FLOWS + 1]);
  });

  it('heals also when the winner has just been started again, and is promoted before it has heard all', async () => {
    await split();
    fw1.kill();
    await cluster.run(50);
    fw1.start();
    cluster.network.faults.delayMs = 60;
    await cluster.until('fw1 knows fw2', () => fw1.up.replicator.peers().length === 1);
    await cluster.done(fw2.demote());
    await cluster.until('fw1 has heard of it', () => fw1.peer('fw2').role === 'backup');
    expect(fw1.peer('fw2').myVerdict).toBe('suspect');
    await cluster.done(fw1.promote());
    await cluster.until('all is handed over', () => fw2.mirrorFlows === 0 && cluster.isInStep());
    expect([fw1.markOf(1001), fw1.markOf(1002)]).toEqual([0, 0]);
  });
});

describe('what begins on a backup', () => {
  it('right after the first promote of all, which took over all replicas, stays its own', async () => {
    for (const wait of [0, 5, 20]) {
      cluster = new CoreCluster(['fw1', 'fw2']);
      [fw1, fw2] = cluster.nodes;
      for (const node of cluster.nodes) node.start();
      await cluster.run(wait);
      await cluster.done(fw1.promote());
      await cluster.until('they are in step', () => cluster.isInStep());
      fw2.born(1001);
      await cluster.run(2000);
      expect(fw1.markOf(1001)).toBeUndefined();
      expect(fw2.mirrorFlows).toBe(1);
    }
  });
});

describe('what began on a former primary', () => {
  it('while nobody heard its new daemon is not lost, and what ended meanwhile does not return', async () => {
    await pair();
    cluster.cut();
    await cluster.run(1500);
    await cluster.done(fw2.promote());
    fw1.kill();
    await cluster.run(50);
    fw1.start();
    await cluster.until('fw1 is there again', () => fw1.up.state === 'ready');
    fw1.born(1001);
    fw2.die(7);
    await cluster.run(3000);
    cluster.network.heal();
    await cluster.until('they hear each other', () => fw2.up.splitBrain.others.length === 1);
    await cluster.done(fw1.demote());
    await cluster.until('all is handed over', () => fw1.mirrorFlows === 0 && cluster.isInStep());
    expect(fw2.markOf(1001)).toBe(0);
    expect(fw2.markOf(7)).toBeUndefined();
    expect(fw2.mirrorFlows).toBe(FLOWS);
  });

  it('that was started again and dies before it is asked is not taken when the new primary is promoted again', async () => {
    await pair();
    cluster.cut();
    await cluster.run(1500);
    await cluster.done(fw2.promote());
    fw1.kill();
    await cluster.run(50);
    fw1.start();
    fw2.die(7);
    await cluster.run(3000);
    cluster.network.heal();
    await cluster.until('they hear each other', () => fw2.up.splitBrain.others.length === 1);
    await cluster.until('all it found is here', () => fw2.peer('fw1').myVerdict === 'proven');
    await cluster.done(fw1.demote());
    fw1.kill();
    await cluster.run(3000);
    const { reasons, promote } = await cluster.done(fw2.promote());
    expect(reasons).toEqual([
      'fw1 was taken over before it was started again, what it has changed comes over when it is back',
    ]);
    expect(promote?.sources).toEqual([]);
    expect(fw2.markOf(7)).toBeUndefined();
    fw1.start();
    await cluster.until('all is handed over', () => fw1.mirrorFlows === 0 && cluster.isInStep());
    expect([fw2.mirrorFlows, fw2.markOf(7)]).toEqual([FLOWS - 1, undefined]);
  });

  it('is taken over by a third node, if the one that took it over steps back first', async () => {
    cluster = new CoreCluster(['fw1', 'fw2', 'fw3']);
    [fw1, fw2] = cluster.nodes;
    const fw3 = cluster.nodes[2];
    await cluster.begin();
    for (let n = 0; n < FLOWS; n++) fw1.born(n);
    await cluster.until('all is replicated', () => fw3.up.table.count === FLOWS && cluster.isInStep());
    await cluster.done(fw2.promote());
    fw1.born(1001);
    await cluster.run(2000);
    const calls = [fw1.demote(), fw2.demote()];
    for (const call of calls) await cluster.done(call);
    await cluster.done(fw3.promote());
    await cluster.until(
      'all is handed over',
      () => fw1.mirrorFlows + fw2.mirrorFlows === 0 && cluster.isInStep(),
    );
    expect(fw3.markOf(1001)).toBe(0);
    expect(fw3.mirrorFlows).toBe(FLOWS + 1);
  });

  it('is taken over by a third node also if it had stepped back before it heard of its takeover', async () => {
    cluster = new CoreCluster(['fw1', 'fw2', 'fw3']);
    [fw1, fw2] = cluster.nodes;
    const fw3 = cluster.nodes[2];
    await cluster.begin();
    for (let n = 0; n < FLOWS; n++) fw1.born(n);
    await cluster.until('all is replicated', () => fw3.up.table.count === FLOWS && cluster.isInStep());
    cluster.cut();
    await cluster.run(1500);
    await cluster.done(fw2.promote());
    fw1.born(1001);
    await cluster.run(500);
    await cluster.done(fw1.demote());
    const { yields } = fw2.peer('fw1');
    cluster.network.heal();
    await cluster.until('fw1 has given away the rest', () => fw2.peer('fw1').yields > yields);
    await cluster.done(fw2.demote());
    expect(fw2.up.roles.lastAbsorb).toBeUndefined();
    await cluster.done(fw3.promote());
    await cluster.until(
      'all is handed over',
      () => fw1.mirrorFlows + fw2.mirrorFlows === 0 && cluster.isInStep(),
    );
    expect(fw3.markOf(1001)).toBe(0);
    expect(fw3.mirrorFlows).toBe(FLOWS + 1);
  });

  it('is asked for also after a takeover, and again after another one, but once each', async () => {
    await pair();
    const { node, incarnation } = fw1.peer('fw2');
    const before = fw1.peer('fw2').yields;
    for (const [stage, cutSequence, answers] of [
      ['asked', 0, 1],
      ['asked', 0, 1],
      ['done', fw2.up.replicator.sequence, 2],
      ['done', 1, 2],
      ['asked', 0, 3],
    ] as const) {
      fw1.up.stream.declare([{ node, incarnation, cutSequence }], fw1.up.replicator.term, stage);
      await cluster.run(100);
      expect(fw1.peer('fw2').yields - before, `${stage} ${cutSequence}`).toBe(answers);
    }
  });
});

describe('a takeover that is said again', () => {
  it('under a higher term ends no tenure that began since: what began in it is asked for', async () => {
    await pair();
    await cluster.done(fw2.promote());
    await cluster.done(fw1.demote());
    await cluster.until('all is handed over', () => fw1.mirrorFlows === 0 && cluster.isInStep());
    await cluster.done(fw1.promote());
    fw1.born(1001);
    await cluster.run(20);
    await cluster.done(fw1.demote());
    // Another former primary makes it rise.
    const term = fw1.up.replicator.term + 1;
    fw2.up.stream.setRole('primary', term);
    const gone = { node: 'gone', incarnation: new Uint8Array(16), cutSequence: 0 };
    fw2.up.stream.declare([gone], term, 'done');
    // What fw1 had of fw2 has become its own: it finds that its replica differs.
    await cluster.until('it is repaired', () => fw1.peer('fw2').myVerdict === 'proven');
    expect(fw2.peer('fw1').wasPrimary).toBe(true);
    await cluster.until('all is handed over', () => fw1.mirrorFlows === 0 && cluster.isInStep());
    expect(fw2.markOf(1001)).toBe(0);
    expect(fw2.peer('fw1').wasPrimary).toBe(false);
  });
});

describe('a promote in whose course the old primary is promoted and demoted again', () => {
  it('ends no tenure but the one that it has taken over: what began in the later one is asked for', async () => {
    await pair();
    await cluster.done(fw1.demote());
    cluster.lookMs = 0.4;
    const first = fw2.promote();
    await cluster.until('it is in the middle', () => fw2.twin.flows.count >= 50);
    const second = fw1.promote();
    await cluster.until('fw1 is primary once more', () => fw1.up.role === 'primary');
    fw1.born(1001);
    await cluster.run(20);
    const back = fw1.demote();
    await cluster.done(second);
    await cluster.done(back);
    expect(fw2.up.roles.lastPromote).toBeUndefined();
    cluster.lookMs = 0.02;
    await cluster.done(first);
    expect(fw2.up.replicator.term).toBeLessThan(fw2.peer('fw1').primaryTerm);
    await cluster.until('all is handed over', () => fw1.mirrorFlows === 0 && cluster.isInStep());
    expect(fw2.markOf(1001)).toBe(0);
    expect(fw2.mirrorFlows).toBe(FLOWS + 1);
    expect(fw2.peer('fw1').wasPrimary).toBe(false);
    expect(fw2.up.replicator.term).toBeGreaterThan(fw2.peer('fw1').primaryTerm);
  });
});

describe('two nodes that are promoted within the delay of the network', () => {
  it('may have one term; who takes the other one over rises above it', async () => {
    await pair();
    await cluster.done(fw1.demote());
    const [first, second] = [fw1.promote(), fw2.promote()];
    await cluster.done(first);
    await cluster.done(second);
    const { term } = fw2.up.replicator;
    expect(fw1.up.replicator.term).toBe(term);
    await cluster.run(500);
    fw1.born(1001);
    fw2.die(7);
    await cluster.run(500);
    await cluster.done(fw1.demote());
    await cluster.until('all is handed over', () => fw1.mirrorFlows === 0 && cluster.isInStep());
    expect([fw2.markOf(1001), fw2.markOf(7)]).toEqual([0, undefined]);
    expect(fw2.up.replicator.term).toBeGreaterThan(term);
    expect(fw2.peer('fw1').wasPrimary).toBe(false);
  });
});

describe('a tenure that the primary has not heard of', () => {
  for (const mode of ['reliable', 'refresh', 'best-effort'] as const) {
    it(`is taken over in the mode ${mode}, and nobody waits for it any more`, async () => {
      cluster = new CoreCluster(['fw1', 'fw2', 'fw3'], 1, { mode });
      [fw1, fw2] = cluster.nodes;
      const fw3 = cluster.nodes[2];
      await cluster.begin();
      await cluster.done(fw1.demote());
      await cluster.done(fw2.promote());
      await cluster.until('fw1 is taken over', () => !fw3.peer('fw1').wasPrimary && cluster.isInStep());
      cluster.network.cut('fw1', 'fw2');
      await cluster.done(fw1.promote());
      await cluster.done(fw1.demote());
      await cluster.run(50);
      expect([fw2.peer('fw1').wasPrimary, fw3.peer('fw1').wasPrimary]).toEqual([false, true]);
      cluster.network.heal();
      await cluster.until('fw2 takes it over', () => fw2.up.roles.lastAbsorb !== undefined);
      await cluster.until('fw3 has heard of it', () => !fw3.peer('fw1').wasPrimary);
      await cluster.run(3000);
      expect([fw2.peer('fw1').wasPrimary, fw3.peer('fw1').wasPrimary]).toEqual([false, false]);
      expect(fw2.up.replicator.term).toBeGreaterThan(fw3.peer('fw1').primaryTerm);
    });
  }
});

describe('two primaries', () => {
  beforeEach(pair);

  it('are reported after a second, once, and once when it is over', async () => {
    const lines = (text: RegExp) => fw2.logged.filter((line) => text.test(line)).length;
    await cluster.done(fw2.promote());
    await cluster.run(3000);
    for (const [node, other] of [
      [fw1, fw2],
      [fw2, fw1],
    ]) {
      const { term } = other.up.replicator;
      expect(node.up.splitBrain.others).toEqual([{ node: other.name, term }]);
    }
    expect(lines(/^error: split brain/)).toBe(1);
    await cluster.done(fw1.demote());
    await cluster.run(500);
    expect(fw2.up.splitBrain.others).toEqual([]);
    expect([lines(/^error: split brain/), lines(/the split brain is over/)]).toEqual([1, 1]);
  });

  it('take nothing from each other when one of them is promoted again: what ended here would return', async () => {
    await cluster.done(fw2.promote());
    await cluster.run(2000);
    fw1.die(9);
    await cluster.run(8000);
    const report = await cluster.done(fw1.promote());
    expect(report).toMatchObject({
      exitCode: 3,
      reasons: [expect.stringMatching(/^split brain: fw2 is primary/)],
    });
    expect(fw1.markOf(9)).toBeUndefined();
    await cluster.done(fw2.demote());
    await cluster.until('fw2 has given all away', () => fw2.mirrorFlows === 0 && cluster.isInStep());
    expect(fw1.markOf(9)).toBeUndefined();
    expect(fw1.mirrorFlows).toBe(FLOWS - 1);
  });
});

describe('a planned switch', () => {
  beforeEach(pair);

  for (const order of ['promote first', 'demote first']) {
    it(`with ${order} loses no change, and follows no end that comes from the old primary's timers`, async () => {
      const calls = [fw2.promote(), fw1.demote()];
      if (order === 'demote first') calls.reverse();
      // Packets still pass the old primary.
      fw1.mark(3, 33);
      fw1.born(1001);
      await cluster.run(1);
      fw1.mark(4, 44);
      fw1.die(6);
      for (const call of calls) expect((await cluster.done(call)).exitCode).toBe(0);
      await cluster.until('fw1 has given all away', () => fw1.mirrorFlows === 0 && cluster.isInStep());
      // Nobody's packets refresh what the old primary still has.
      for (let n = 100; n < 200; n++) fw1.die(n);
      await cluster.run(3000);
      expect([fw2.markOf(3), fw2.markOf(4), fw2.markOf(1001)]).toEqual([33, 44, 0]);
      expect(fw2.twin.flows.count).toBe(FLOWS + 1);
      expect(fw2.mirrorFlows).toBe(FLOWS + 1);
      expect([fw1.up.role, fw2.up.role]).toEqual(['backup', 'primary']);
      expect(fw2.up.splitBrain.others).toEqual([]);
    });
  }

  it('leaves the node that stepped back proven within half a second, and it stays so', async () => {
    for (const [from, to] of [
      [fw1, fw2],
      [fw2, fw1],
    ]) {
      await cluster.done(to.promote());
      await cluster.done(from.demote());
      const steppedBack = cluster.now;
      let doubtedAt = steppedBack;
      for (let ms = 0; ms < 3000; ms++) {
        if (from.peer(to.name).myVerdict !== 'proven') doubtedAt = cluster.now;
        await cluster.run(1);
      }
      expect(doubtedAt - steppedBack).toBeLessThan(500);
      expect(from.up.role).toBe('backup');
    }
  });

  it('back and forth finds everything each time, and nothing is absorbed twice', async () => {
    for (let n = 0; n < 6; n++) {
      const [to, from] = n % 2 === 0 ? [fw2, fw1] : [fw1, fw2];
      const [a, b] = n % 3 === 0 ? [to.promote(), from.demote()] : [from.demote(), to.promote()];
      await cluster.done(a);
      await cluster.done(b);
      await cluster.until('all is handed over', () => from.mirrorFlows === 0 && cluster.isInStep());
      to.born(2000 + n);
      await cluster.run(500);
      expect(to.mirrorFlows).toBe(FLOWS + n + 1);
    }
    await cluster.run(10_000);
    for (const node of [fw1, fw2]) {
      expect(node.logged.filter((line) => /asked for what/.test(line))).toEqual([]);
    }
  });
});

describe('a promote by a replica in which frames were lost for good', () => {
  it('leaves the old primary what it has not heard of, and takes it over after that', async () => {
    cluster = new CoreCluster(['fw1', 'fw2'], 1, { mode: 'best-effort' });
    [fw1, fw2] = cluster.nodes;
    await cluster.begin();
    for (let n = 0; n < FLOWS; n++) fw1.born(n);
    await cluster.until('all is replicated', () => fw2.up.table.count === FLOWS && cluster.isInStep());
    cluster.network.cut('fw1', 'fw2');
    for (let n = 0; n < 20; n++) fw1.born(1000 + n);
    await cluster.run(100);
    cluster.network.heal();
    fw1.born(2000);
    await cluster.until('a hole is seen', () => fw2.peer('fw1').myVerdict === 'suspect');
    expect(await cluster.done(fw2.promote())).toMatchObject({
      exitCode: 3,
      reasons: ['the replica of fw1 is not proven'],
    });
    expect((await cluster.done(fw1.demote())).exitCode).toBe(0);
    await cluster.until('all is handed over', () => fw1.mirrorFlows === 0 && cluster.isInStep());
    expect([fw2.mirrorFlows, fw2.twin.flows.count]).toEqual([FLOWS + 21, FLOWS + 21]);
  });
});

describe('a role that is given again', () => {
  beforeEach(pair);

  it('changes nothing', async () => {
    const { term } = fw1.up.replicator;
    expect(await cluster.done(fw1.promote())).toMatchObject({
      role: 'primary',
      term,
      exitCode: 0,
      reasons: [],
    });
    expect(await cluster.done(fw2.demote())).toMatchObject({ role: 'backup', exitCode: 0, reasons: [] });
    const { sequence } = fw2.up.replicator;
    expect(await cluster.done(fw2.demote())).toMatchObject({ role: 'backup', exitCode: 0, reasons: [] });
    expect(fw2.up.replicator.sequence - sequence).toBeLessThan(3); // a MARK may fall into the time
    expect(await cluster.done(fw2.demote('fault'))).toMatchObject({ role: 'fault', exitCode: 0 });
    expect(await cluster.done(fw2.demote('fault'))).toMatchObject({ role: 'fault', exitCode: 0 });
    expect(await cluster.done(fw2.demote())).toMatchObject({ role: 'backup', exitCode: 0 });
    expect(fw1.mirrorFlows).toBe(FLOWS);
  });

  it('in every order within a moment ends as the last word says', async () => {
    const words = ['primary', 'backup', 'fault'] as const;
    const give = (word: (typeof words)[number]) => (word === 'primary' ? fw2.promote() : fw2.demote(word));
    for (let n = 0; n < 27; n++) {
      const order = [n % 3, Math.floor(n / 3) % 3, Math.floor(n / 9)].map((i) => words[i]);
      const calls: ReturnType<typeof give>[] = [];
      for (const word of order) {
        calls.push(give(word));
        await cluster.run(n % 4);
      }
      for (const call of calls) await cluster.done(call);
      expect(fw2.up.role, order.join()).toBe(order[2]);
    }
    await cluster.done(fw2.promote());
    expect(fw2.mirrorFlows).toBe(FLOWS);
    expect(fw2.twin.flows.count).toBe(FLOWS);
  });

  it('while a promote runs stops it at a batch and says so, and a promote after that goes on', async () => {
    fw1.kill();
    await cluster.run(1500);
    cluster.lookMs = 0.4;
    const first = fw2.promote();
    await cluster.until('it is in the middle', () => fw2.twin.flows.count >= 128);
    expect(fw2.up.jobs.current?.progress()).toMatchObject({ phase: 'commit', total: FLOWS });
    const stop = fw2.demote();
    expect(await cluster.done(first)).toMatchObject({
      exitCode: 3,
      reasons: ['stopped by a change of role'],
    });
    expect(await cluster.done(stop)).toMatchObject({
      exitCode: 0,
      reasons: ['a promote that ran was stopped, promote again to go on with it'],
    });
    expect(fw2.up.role).toBe('backup');
    expect(fw2.twin.flows.count).toBeLessThan(FLOWS);
    expect((await cluster.done(fw2.promote())).promote).toMatchObject({ rejected: 0 });
    expect(fw2.twin.flows.count).toBe(FLOWS);
    expect(fw2.mirrorFlows).toBe(FLOWS);
  });
});

describe('a role that is given while the node joins', () => {
  it('is taken when it is ready; one that is taken back before never was', async () => {
    await pair();
    fw2.kill();
    await cluster.run(100);
    fw2.start();
    const taken = fw2.promote();
    const back = fw2.demote();
    expect(fw2.up.state).toBe('joining');
    expect(await cluster.done(taken)).toMatchObject({ role: 'backup', promote: null, exitCode: 3 });
    expect(await cluster.done(back)).toMatchObject({ role: 'backup', exitCode: 0 });
    fw2.kill();
    await cluster.run(100);
    fw2.start();
    expect(await cluster.done(fw2.promote())).toMatchObject({ role: 'primary', exitCode: 0 });
    expect(fw2.twin.flows.count).toBe(FLOWS);
  });
});

describe('a promote without anything to take over', () => {
  it('takes the role, says so, and absorbs the former primary when it is heard of', async () => {
    await pair();
    cluster.cut();
    await cluster.run(1500);
    // A new daemon on the second node, which has never heard of the first.
    fw2.kill();
    fw2.start();
    const report = await cluster.done(fw2.promote());
    expect(report).toMatchObject({
      role: 'primary',
      exitCode: 3,
      reasons: [expect.stringMatching(/^no source/)],
    });
    cluster.network.heal();
    await cluster.run(1000);
    await cluster.done(fw1.demote());
    await cluster.until('all is handed over', () => fw1.mirrorFlows === 0 && cluster.isInStep());
    expect(fw2.twin.flows.count).toBe(FLOWS);
    expect(fw2.mirrorFlows).toBe(FLOWS);
  });

  it('into a full kernel counts what found no room, and the rest goes on', async () => {
    await pair();
    fw1.kill();
    await cluster.run(1500);
    fw2.twin.knobs.maxFlows = 200;
    const { promote } = await cluster.done(fw2.promote());
    expect(promote).toMatchObject({ committed: 200, rejected: 100, rejectedBy: { 'kernel-full': 100 } });
    expect(fw2.mirrorFlows).toBe(200);
  });
});

describe('a daemon killed in the middle of its promote', () => {
  /** Promotes fw2 and kills its daemon when so many flows are in its kernel; starts it again. */
  async function killInMiddle(at = 1): Promise<void> {
    cluster.lookMs = 0.4;
    fw2.promote().catch(() => undefined);
    await cluster.until('it is in the middle', () => fw2.twin.flows.count >= at);
    expect(fw2.twin.flows.count).toBeLessThan(FLOWS);
    fw2.kill();
    cluster.lookMs = 0.02;
    await cluster.run(50);
  }

  for (const role of ['primary', 'backup']) {
    it(`takes the rest from the old primary, which is ${role} by then`, async () => {
      await pair();
      await killInMiddle();
      if (role === 'backup') await cluster.done(fw1.demote());
      expect(fw1.mirrorFlows).toBe(FLOWS);
      fw2.start();
      await cluster.until('all is there', () => fw2.twin.flows.count === FLOWS);
      if (role === 'primary') await cluster.done(fw1.demote());
      await cluster.until('fw1 has given all away', () => fw1.mirrorFlows === 0 && cluster.isInStep());
      expect(fw2.mirrorFlows).toBe(FLOWS);
      expect(fw2.up.role).toBe('primary');
      expect(fw2.disk?.sources).toEqual([]);
      expect(fw2.up.roles.unfinished.reasons()).toEqual([]);
    });
  }

  it('does not go on with it when its source was promoted again meanwhile, until that steps back', async () => {
    await pair();
    await killInMiddle(100);
    await cluster.run(1500);
    expect((await cluster.done(fw1.promote())).promote).toMatchObject({ sources: ['fw2'] });
    const { term } = fw2.disk ?? {};
    expect(fw1.up.replicator.term).toBeGreaterThan(term ?? 0);
    fw1.die(7);
    fw2.start();
    await cluster.until('both say that both are primary', () =>
      [fw1, fw2].every(({ up }) => up.splitBrain.others.length === 1),
    );
    const held = fw2.mirrorFlows;
    await cluster.run(6000);
    // Neither its flows nor its rank: nobody has told this node to be primary since.
    expect(fw2.up.replicator.term).toBe(term);
    expect(fw2.up.roles.lastPromote).toBeUndefined();
    expect(fw2.mirrorFlows).toBe(held);
    await cluster.done(fw1.demote());
    await cluster.until('fw1 has given all away', () => fw1.mirrorFlows === 0 && cluster.isInStep());
    expect(fw2.up.replicator.term).toBeGreaterThan(fw1.up.replicator.term);
    // 7 ended on fw1, and fw2 had it or not.
    for (let n = 0; n < FLOWS; n++) if (n !== 7) expect(fw2.markOf(n), `flow ${n}`).toBe(0);
    expect(fw2.mirrorFlows).toBe(fw2.twin.flows.count);
    expect(fw2.up.roles.unfinished.reasons()).toEqual([]);
    expect(fw2.disk?.sources).toEqual([]);
  });

  it('says what is lost when nobody has it any more, until the node steps back', async () => {
    await pair();
    fw1.kill();
    await cluster.run(1500);
    await killInMiddle();
    const missing = FLOWS - fw2.twin.flows.count;
    fw2.start();
    await cluster.run(4000);
    expect(fw2.up.role).toBe('primary');
    const reason = new RegExp(
      `cut short .* about ${missing} of ${FLOWS} flows of fw1 .* are lost unless fw1 comes back`,
    );
    expect(fw2.up.roles.unfinished.reasons()).toEqual([expect.stringMatching(reason)]);
    expect(fw2.logged.filter((line) => reason.test(line))).toHaveLength(1);
    const report = await cluster.done(fw2.promote());
    expect(report).toMatchObject({ role: 'primary', exitCode: 3, reasons: [expect.stringMatching(reason)] });
    await cluster.done(fw2.demote());
    await cluster.run(200);
    expect(fw2.up.roles.unfinished.reasons()).toEqual([]);
  });

  it('goes on writing the term that it has, not the one of that promote', async () => {
    await pair();
    fw2.kill();
    const gone = { node: 'gone', incarnation: '0'.repeat(32) };
    fw2.disk = { role: 'primary', term: 7, bootId: 'boot-fw2', sources: [gone], toCreate: 5, kernelFlows: 0 };
    await cluster.run(50);
    fw2.start();
    await cluster.until('fw2 is there', () => fw2.up.role === 'primary' && cluster.isInStep());
    // It has to outrank fw1 before that one listens to it.
    await cluster.done(fw1.demote());
    await cluster.until('fw1 has given all away', () => fw1.mirrorFlows === 0 && cluster.isInStep());
    expect(fw2.up.replicator.term).toBeGreaterThan(fw1.up.replicator.term);
    expect(fw2.disk).toEqual({
      role: 'primary',
      term: fw2.up.replicator.term,
      bootId: 'boot-fw2',
      sources: [gone],
      toCreate: 5,
      kernelFlows: 0,
    });
  });

  it('gets back from a third node what it had declared, when the old primary is dead', async () => {
    cluster = new CoreCluster(['fw1', 'fw2', 'fw3']);
    [fw1, fw2] = cluster.nodes;
    const fw3 = cluster.nodes[2];
    await cluster.begin();
    for (let n = 0; n < FLOWS; n++) fw1.born(n);
    await cluster.until('all is replicated', () => fw3.up.table.count === FLOWS && cluster.isInStep());
    fw1.kill();
    await cluster.run(1500);
    await killInMiddle();
    await cluster.run(1500);
    fw2.start();
    await cluster.until('all is there', () => fw2.twin.flows.count === FLOWS);
    await cluster.until('fw3 has given all back', () => fw3.mirrorFlows === 0);
    await cluster.until('both prove it', () => fw3.peer('fw2').myVerdict === 'proven');
    expect(fw2.mirrorFlows).toBe(FLOWS);
    expect(fw2.up.roles.unfinished.reasons()).toEqual([]);
    expect(fw2.disk?.sources).toEqual([]);
    expect(fw3.twin.flows.count).toBe(0);
    expect(fw3.up.table.countOf(fw3.peer('fw2').owner)).toBe(FLOWS);
  });

  it('is made up for when the old primary comes back', async () => {
    await pair();
    fw1.kill();
    await cluster.run(1500);
    await killInMiddle();
    fw2.start();
    await cluster.run(4000);
    expect(fw2.twin.flows.count).toBeLessThan(FLOWS);
    fw1.start();
    await cluster.until('all is there', () => fw2.twin.flows.count === FLOWS);
    await cluster.done(fw1.demote());
    await cluster.until('all is handed over', () => fw1.mirrorFlows === 0 && cluster.isInStep());
    expect(fw2.mirrorFlows).toBe(FLOWS);
  });
});

describe('the old primary', () => {
  it('that was down while the other took over hands over when it is back', async () => {
    await pair();
    fw1.kill();
    await cluster.run(1500);
    await cluster.done(fw2.promote());
    fw2.die(7);
    fw1.start();
    await cluster.until('both say that both are primary', () =>
      [fw1, fw2].every(({ up }) => up.splitBrain.others.length === 1),
    );
    await cluster.done(fw1.demote());
    await cluster.until('all is handed over', () => fw1.mirrorFlows === 0 && cluster.isInStep());
    // What ended meanwhile on the new primary does not come back with the old one's kernel.
    expect(fw2.markOf(7)).toBeUndefined();
    expect(fw2.mirrorFlows).toBe(FLOWS - 1);
  });

  it('that was booted comes back with nothing, is filled, and takes over again', async () => {
    await pair();
    fw1.reboot();
    await cluster.run(1500);
    await cluster.done(fw2.promote());
    fw1.start();
    await cluster.until('it is in step', () => cluster.isInStep());
    expect(fw1.up.role).toBe('backup');
    expect(fw1.twin.flows.count).toBe(0);
    const calls = [fw2.demote(), fw1.promote()];
    for (const call of calls) expect((await cluster.done(call)).exitCode).toBe(0);
    await cluster.until('all is handed over', () => fw2.mirrorFlows === 0 && cluster.isInStep());
    expect(fw1.twin.flows.count).toBe(FLOWS);
    expect(fw1.mirrorFlows).toBe(FLOWS);
  });

  it('that stepped back while nobody was there to take over is taken over by who comes later', async () => {
    for (const role of ['backup', 'fault'] as const) {
      await pair();
      expect((await cluster.done(fw1.demote(role))).exitCode).toBe(0);
      await cluster.run(500);
      fw2.reboot();
      fw2.start();
      await cluster.until('fw2 is in step', () => fw2.up.table.count === FLOWS && cluster.isInStep());
      const report = await cluster.done(fw2.promote());
      expect(report).toMatchObject({ exitCode: 0, reasons: [] });
      expect(report.promote).toMatchObject({ sources: ['fw1'], committed: FLOWS });
      await cluster.until('all is handed over', () => fw1.mirrorFlows === 0 && cluster.isInStep());
    }
  });

  it('that stepped back and was started again before anybody took over is still to be taken over', async () => {
    await pair();
    await cluster.done(fw1.demote());
    expect(fw1.disk?.openTenure).toBe(fw1.up.replicator.term);
    for (const node of [fw1, fw2]) node.kill();
    await cluster.run(50);
    for (const node of [fw1, fw2]) node.start();
    await cluster.until('both are in step', () => fw2.up.table.count === FLOWS && cluster.isInStep());
    const report = await cluster.done(fw2.promote());
    expect(report).toMatchObject({ exitCode: 0, reasons: [] });
    expect(report.promote).toMatchObject({ sources: ['fw1'], committed: FLOWS });
    await cluster.until('all is handed over', () => fw1.mirrorFlows === 0 && cluster.isInStep());
    await cluster.run(200);
    expect(fw1.disk).toEqual({
      role: 'backup',
      term: fw1.up.replicator.term,
      bootId: 'boot-fw1',
      sources: [],
    });
  });

  it('that was taken over is no source for who comes later', async () => {
    cluster = new CoreCluster(['fw1', 'fw2', 'fw3']);
    const [one, two, three] = cluster.nodes;
    await cluster.begin();
    for (let n = 0; n < FLOWS; n++) one.born(n);
    await cluster.until('all is replicated', () => cluster.isInStep());
    for (const call of [one.demote(), two.promote()]) expect((await cluster.done(call)).exitCode).toBe(0);
    await cluster.until('all is handed over', () => one.mirrorFlows === 0 && cluster.isInStep());
    await cluster.done(two.demote());
    three.reboot();
    three.start();
    await cluster.until('fw3 is in step', () => three.up.table.count === FLOWS && cluster.isInStep());
    const report = await cluster.done(three.promote());
    expect(report.promote).toMatchObject({ sources: ['fw2'], committed: FLOWS });
  });
});

describe('a node that looks on', () => {
  let fw3: CoreNode;

  beforeEach(async () => {
    cluster = new CoreCluster(['fw1', 'fw2', 'fw3']);
    [fw1, fw2, fw3] = cluster.nodes;
    await cluster.begin();
    for (let n = 0; n < FLOWS; n++) fw1.born(n);
    await cluster.until('all is replicated', () => fw3.up.table.count === FLOWS && cluster.isInStep());
  });

  it('learns from who was taken over that this is so, when it comes to know it only afterwards', async () => {
    // fw3 does not hear the new daemon of fw1 before fw2 has taken over.
    for (const [a, b] of [
      ['fw1', 'fw3'],
      ['fw3', 'fw1'],
    ]) {
      cluster.network.cut(a, b);
    }
    fw1.kill();
    await cluster.run(50);
    fw1.start();
    await cluster.until('fw1 is there again', () => fw1.up.state === 'ready');
    await cluster.run(1500);
    for (const call of [fw1.demote(), fw2.promote()]) await cluster.done(call);
    await cluster.until('all is handed over', () => fw1.mirrorFlows === 0);
    expect(fw3.peer('fw1').wasPrimary).toBe(true);
    cluster.network.heal();
    await cluster.until('all are in step', () => cluster.isInStep());
    expect(fw3.peer('fw1').wasPrimary).toBe(false);
    const report = await cluster.done(fw3.promote());
    expect(report.promote).toMatchObject({ sources: ['fw2'] });
  });

  it('does not take the late word of an earlier takeover for the end of a tenure that began since', async () => {
    // fw3 hears nothing of fw2's tenure while it lasts.
    for (const [a, b] of [
      ['fw2', 'fw3'],
      ['fw3', 'fw2'],
    ]) {
      cluster.network.cut(a, b);
    }
    for (const call of [fw1.demote(), fw2.promote()]) await cluster.done(call);
    await cluster.until('fw2 has all', () => fw1.mirrorFlows === 0);
    for (const call of [fw2.demote(), fw1.promote()]) await cluster.done(call);
    await cluster.until('fw1 has all again', () => fw2.mirrorFlows === 0);
    expect(fw3.peer('fw1').primaryTerm).toBe(fw1.up.replicator.term);
    cluster.network.heal();
    // Nor for the end of what it holds of fw1: should that die now, all would be lost.
    let [least, isHeard] = [FLOWS, false];
    for (let ms = 0; ms < 2000; ms++) {
      await cluster.run(1);
      least = Math.min(least, fw3.up.table.countOf(fw3.peer('fw1').owner));
      isHeard ||= fw3.peer('fw2').term === fw2.up.replicator.term;
    }
    expect([least, isHeard]).toEqual([FLOWS, true]);
    await cluster.until('all are in step', () => cluster.isInStep());
    expect(fw3.peer('fw1').wasPrimary).toBe(true);
    fw1.kill();
    await cluster.run(1500);
    const report = await cluster.done(fw3.promote());
    expect(report.promote).toMatchObject({ sources: ['fw1'], committed: FLOWS });
  });

  it('keeps no flows for a promote that was stopped long before its node died', async () => {
    cluster.lookMs = 0.4;
    const first = fw2.promote();
    await cluster.until('it is in the middle', () => fw2.twin.flows.count >= 50);
    const stop = fw2.demote();
    expect((await cluster.done(first)).exitCode).toBe(3);
    await cluster.done(stop);
    cluster.lookMs = 0.02;
    for (const call of [fw1.demote(), fw2.promote()]) await cluster.done(call);
    await cluster.until('all is handed over', () => fw1.mirrorFlows === 0 && cluster.isInStep());
    fw2.kill();
    await cluster.run(1500);
    fw2.start();
    await cluster.until('all are in step', () => cluster.isInStep());
    expect(fw3.mirrorFlows).toBe(0);
    expect(fw3.logged.filter((line) => /flows are kept for it/.test(line))).toEqual([]);
    expect(fw2.mirrorFlows).toBe(FLOWS);
  });
});
