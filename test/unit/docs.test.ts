/** docs/operation.md quotes the program: what an operator looks up must be what was said. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');
/** Pieces between two wildcards that are too short to mean anything. */
const SHORT = 4;

function sources(): string {
  const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' });
  const texts = files
    .filter((file) => file.endsWith('.ts'))
    .map((file) => readFileSync(join(root, 'src', file), 'utf8'));
  // A text that was broken into lines is one again.
  return texts.join('\n').replaceAll(/['"`]\s*\+\s*['"`]/g, '');
}

/** What is put together from words: `peer: ` and the event, the name of a takeover and what became of it. */
function composed(source: string): string[] {
  const [, types = ''] = /type PeerEventType =([^;]*);/.exec(source) ?? [];
  const events = [...types.matchAll(/'([a-z-]+)'/g)].map(([, type]) => `peer: ${type}`);
  const steps = [...source.matchAll(/\$\{this\.#name\}: ([a-z ]+)`/g)].map(([, step]) => step);
  return [...events, ...['promote', 'absorb'].flatMap((name) => steps.map((step) => `${name}: ${step}`))];
}

/** The quoted words in the first cell of each row below a heading. */
function quoted(heading: string): string[] {
  const page = readFileSync(join(root, 'docs/operation.md'), 'utf8');
  const [, section = ''] = page.split(`## ${heading}\n`);
  const rows = section
    .split('\n## ')[0]
    .split('\n')
    .filter((line) => line.startsWith('| `'));
  return rows.flatMap((row) => [...row.split(' | ')[0].matchAll(/`([^`]+)`/g)].map(([, words]) => words));
}

test.each(['What the status says', 'What the log says'])('%s: in the words of the program', (heading) => {
  const source = sources();
  const known = [source, ...composed(source)].join('\n');
  const words = quoted(heading);
  expect(words.length).toBeGreaterThan(15);
  const pieces = words.flatMap((text) => text.split('…').map((piece) => piece.trim()));
  expect(pieces.filter((piece) => piece.length >= SHORT && !known.includes(piece))).toEqual([]);
});
