import { expect, test } from 'vitest';
import { type Figure, outcomeOf, spreadOf } from '../../bench/figure.js';
import { markdownTable, plainTable } from '../../bench/outcome-table.js';
import { barPlot, linePlot } from '../../bench/plot.js';

const cost: Figure = { id: 'cost', name: 'a cost', unit: 'us', digits: 1, target: { ratio: 0.5 } };
const rate: Figure = {
  id: 'rate',
  name: 'a rate',
  unit: '',
  digits: 0,
  isMoreBetter: true,
  target: { ratio: 1.3, share: 0.85 },
};

test('the median of an even number of rounds lies between the middle two, and rounds without a number do not count', () => {
  expect(spreadOf([4, Number.NaN, 1, 2, 9])).toEqual({ median: 3, min: 1, max: 9 });
  expect(spreadOf([Number.NaN])).toBeUndefined();
});

test('a cost hits its target at the limit and misses it above', () => {
  expect(outcomeOf(cost, { conntrackd: [4], conntwin: [2] })).toMatchObject({ ratio: 0.5, verdict: 'hit' });
  expect(outcomeOf(cost, { conntrackd: [4], conntwin: [2.1] }).verdict).toBe('miss');
});

test('a rate must reach both the ratio and the share of the limit', () => {
  const both = { conntrackd: [100], conntwin: [170] };
  expect(outcomeOf(rate, { ...both, kernel: [200] })).toMatchObject({ share: 0.85, verdict: 'hit' });
  expect(outcomeOf(rate, { ...both, kernel: [201] }).verdict).toBe('miss');
  expect(outcomeOf(rate, { conntrackd: [100], conntwin: [129], kernel: [129] }).verdict).toBe('miss');
});

test('the share of a cost is what the kernel alone takes of it', () => {
  expect(outcomeOf(cost, { conntwin: [2], kernel: [1.5] }).share).toBe(0.75);
});

test('without the other side there is no verdict on a ratio', () => {
  expect(outcomeOf(cost, { conntwin: [2] })).toMatchObject({ ratio: undefined, verdict: undefined });
});

test('a figure for the sealed side is judged by the sealed side', () => {
  const sealed: Figure = { ...cost, ours: 'sealed' };
  expect(outcomeOf(sealed, { conntrackd: [4], conntwin: [1], sealed: [3] })).toMatchObject({
    ratio: 0.75,
    verdict: 'miss',
  });
});

test('tables have both sides, the spread, the ratio, the target and the verdict, and no column that nobody filled', () => {
  const outcomes = [outcomeOf(cost, { conntrackd: [4], conntwin: [1, 3, 2.5] })];
  expect(markdownTable(outcomes)).toBe(
    [
      '|  | conntrackd | Conntwin | ratio | of the limit | target |  |',
      '|---|---:|---:|---:|---:|---|---|',
      '| a cost (us) | 4.0 | 2.5 (1.0-3.0) | 0.63 | - | <= 0.50 of conntrackd | **miss** |',
      '',
    ].join('\n'),
  );
  expect(plainTable(outcomes)).toMatch(/a cost \(us\) +4\.0 +2\.5 \(1\.0-3\.0\) +0\.63/);
});

test('plots are pictures that name what they show, with text that markup cannot break', () => {
  const bars = barPlot('bars', [{ name: 'a <b> & c', value: 2, target: 1 }]);
  expect(bars).toMatch(/^<svg /);
  expect(bars).toContain('a &lt;b&gt; &amp; c');
  const lines = linePlot('lines', 'x', 'y', [
    {
      name: 'one',
      points: [
        [1, 1],
        [10, 2],
      ],
    },
  ]);
  expect(lines).toContain('<polyline points="');
  expect(lines).not.toContain('NaN');
});
