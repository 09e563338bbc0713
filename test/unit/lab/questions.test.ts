import { expect, test } from 'vitest';
import { Questions } from '../../lab/traffic/questions.js';

test('an answer counts from when its question was asked, though another was asked since', () => {
  const questions = new Questions(100);
  expect(questions.ask(0)).toBe(1);
  expect([questions.isWaiting(299), questions.isWaiting(300)]).toEqual([true, false]);
  expect(questions.ask(300)).toBe(2);
  expect(questions.answered(1)).toBe(0);
  expect(questions.isWaiting(301)).toBe(true);
  expect(questions.answered(2)).toBe(300);
  expect(questions.isWaiting(301)).toBe(false);
});

test('one that never comes leaves no later one behind it, and none counts twice or goes back in time', () => {
  const questions = new Questions(100);
  for (const now of [0, 300, 600]) questions.ask(now);
  expect(questions.answered(2)).toBe(300);
  expect([questions.answered(2), questions.answered(1), questions.answered(4)]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
  expect(questions.answered(3)).toBe(600);
});

test('numbers begin again behind the last, and the oldest questions are forgotten', () => {
  const questions = new Questions(100);
  const asked = Array.from({ length: 101 }, (_, now) => questions.ask(now));
  expect(asked.slice(98)).toEqual([99, 100, 1]);
  expect(questions.answered(37)).toBeUndefined();
  expect(questions.answered(38)).toBe(37);
  expect(questions.answered(1)).toBe(100);
  expect(String(questions)).toBe('the answer to question 1, 0 wait');
});
