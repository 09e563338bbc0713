import { expect, test } from 'vitest';
import { errnoName, SystemError } from '../../../native/system-error.js';

test('a system error says operation, reason, errno name and advice in one line', () => {
  const error = new SystemError('join netlink group', 1, { advice: 'run as root' });
  expect(error.message).toBe('join netlink group: operation not permitted (EPERM): run as root');
  expect(error.code).toBe('EPERM');
  expect(error.errno).toBe(1);
});

test('an errno without a name is shown by number', () => {
  expect(errnoName(17)).toBe('EEXIST');
  expect(errnoName(9999)).toBe('E9999');
  expect(new SystemError('x', 9999).message).toBe('x: unknown error (E9999)');
});
