import { describe, expect, it } from 'vitest';
import { Demotion } from '../../../src/failover/demote.js';
import type { SourceView } from '../../../src/failover/ports.js';
import { nextTerm, outranks, TERM_MAX } from '../../../src/failover/roles.js';
import { chooseSources } from '../../../src/failover/sources.js';
import { decodeState, encodeState, type PersistedState } from '../../../src/failover/state.js';
import { FailoverNode } from '../../simulation/failover-node.js';
import { makeRecord } from '../../simulation/record-maker.js';

describe('a new term', () => {
  it('is above every term that was seen, the persisted one and the clock', () => {
    expect(nextTerm(7, 3, 100)).toBe(101);
    expect(nextTerm(700, 3, 100)).toBe(701);
    expect(nextTerm(7, 900, 100)).toBe(901);
  });

  it('rises although the clock is wrong', () => {
    expect(nextTerm(7, 3, -5)).toBe(8);
    expect(nextTerm(7, 3, Number.NaN)).toBe(8);
    expect(nextTerm(7, 3, Number.POSITIVE_INFINITY)).toBe(8);
    expect(nextTerm(Number.NaN, -1, 5)).toBe(6);
    expect(nextTerm(TERM_MAX, 0, 0)).toBe(TERM_MAX);
  });

  it('wins by its number, and among equals by the node’s name', () => {
    expect(outranks(2, 'a', 1, 'b')).toBe(true);
    expect(outranks(1, 'a', 1, 'b')).toBe(false);
    expect(outranks(1, 'b', 1, 'a')).toBe(true);
  });
});

describe('the state file', () => {
  const state: PersistedState = {
    role: 'primary',
    term: 12,
    bootId: 'b',
    sources: [{ node: 'fw1', incarnation: '0123456789abcdef0123456789abcdef' }],
  };

  it('comes back as it was written', () => {
    expect(decodeState(encodeState(state))).toEqual(state);
  });

  it('that is damaged says why, and never throws', () => {
    const text = encodeState(state);
    for (let i = 0; i < text.length; i++) decodeState(text.slice(0, i) + text.slice(i + 1));
    for (const damaged of [
      '',
      'null',
      '[]',
      '{}',
      text.replace('"version":1', '"version":2'),
      text.replace('primary', 'master'),
      text.replace('"term":12', '"term":-1'),
      text.replace('0123', 'xyz!'),
      text.replace('"sources":[', '"sources":[7,'),
    ]) {
      expect(decodeState(damaged)).toHaveProperty('reason');
    }
  });
});

describe('the sources', () => {
  const view = (node: string, more: Partial<SourceView> = {}): SourceView => ({
    node,
    incarnation: new Uint8Array(16).fill(0xab),
    owner: 2,
    role: 'backup',
    primaryTerm: 0,
    isAbsorbed: false,
    isAlive: false,
    isProven: true,
    wholeUpTo: 1,
    flows: 1,
    isReady: true,
    yields: 0,
    lends: false,
    takenAt: Number.NEGATIVE_INFINITY,
    bootId: 'b',
    ...more,
  });

  it('are in order of their terms, then of their names', () => {
    const views = [
      view('a', { primaryTerm: 3 }),
      view('b', { primaryTerm: 9 }),
      view('c', { primaryTerm: 3 }),
    ];
    expect(chooseSources(views, false, []).sources.map((source) => source.node)).toEqual(['b', 'c', 'a']);
  });

  it('of a promote that a crash cut short are taken up again', () => {
    const resumed = [{ node: 'a', incarnation: 'ab'.repeat(16) }];
    const chosen = chooseSources([view('a'), view('b')], true, resumed);
    expect(chosen.sources.map((source) => source.node)).toEqual(['a']);
    expect(chooseSources([view('a', { isAbsorbed: true })], true, resumed).sources).toEqual([]);
  });

  it('are none where this node itself was the only primary', () => {
    expect(chooseSources([view('a')], true, [])).toEqual({
      sources: [],
      reasons: ['no source: no peer has flows to take over'],
    });
  });
});

describe('a demote', () => {
  const setUp = () => {
    const node = new FailoverNode();
    const said: string[] = [];
    const parts = {
      table: node.table,
      bootId: 'b',
      openTenure: () => 0,
      persist: (state: PersistedState) => said.push(`persist ${state.role} ${state.openTenure ?? ''}`.trim()),
      stream: {
        sources: () => [],
        highestTerm: 0,
        setRole: (role: string) => said.push(`role ${role}`),
        take: () => undefined,
        declare: () => undefined,
        pin: () => undefined,
        unpin: () => undefined,
      },
    };
    return { node, said, parts };
  };

  it('stops what runs, waits until the stream has said all, and only then steps back', () => {
    const { node, said, parts } = setUp();
    node.twin.born(makeRecord({ source: '10.0.0.1', destination: '10.0.0.2' }).m, 0);
    node.drain();
    const demotion = new Demotion(parts, 'backup', 5, { stop: () => said.push('stop') });
    expect(demotion.step(0)).toBe(false);
    expect(said).toEqual(['stop']);
    node.flush();
    expect(demotion.step(10)).toBe(true);
    expect(said).toEqual(['stop', 'role backup', 'persist backup']);
    expect(demotion.isCutShort).toBe(false);
  });

  it('writes down that its tenure is still to be taken over', () => {
    const { said, parts } = setUp();
    new Demotion({ ...parts, openTenure: () => 4 }, 'backup', 5, undefined).step(0);
    expect(said).toEqual(['role backup', 'persist backup 4']);
    const state: PersistedState = { role: 'backup', term: 5, bootId: 'b', sources: [], openTenure: 4 };
    expect(decodeState(encodeState(state))).toEqual(state);
    expect(decodeState(encodeState({ ...state, openTenure: -1 }))).not.toHaveProperty('openTenure');
  });

  it('waits a second at most', () => {
    const { node, said, parts } = setUp();
    node.twin.born(makeRecord({ source: '10.0.0.1', destination: '10.0.0.2' }).m, 0);
    node.drain();
    const demotion = new Demotion(parts, 'fault', 5, undefined);
    expect(demotion.step(0)).toBe(false);
    expect(demotion.step(999)).toBe(false);
    expect(demotion.step(1000)).toBe(true);
    expect(demotion.isCutShort).toBe(true);
    expect(said[0]).toBe('role fault');
  });
});
