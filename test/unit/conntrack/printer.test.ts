import { expect, test } from 'vitest';
import { Printer } from '../../../src/conntrack/printer.js';
import { Run } from '../../../src/conntrack/run.js';
import { newSettings } from '../../../src/conntrack/settings.js';
import { recordFromFlow } from '../../../src/flow/flow.js';
import { EVENT_NEW, SEEN_MARK, SEEN_STATUS } from '../../../src/flow/kernel-port.js';
import {
  allocateMemory,
  MAX_RECORD_BYTES,
  OFF_LENGTH,
  PART_TIMESTAMP_EVENT,
} from '../../../src/flow/record.js';

/** 2024-01-02 03:04:05.678901 UTC, in nanoseconds. */
const WHEN_NS = 1704164645678901234n;

/** What -E shows of a flow that came at WHEN_NS, made by process 1. */
function shown(output: Record<string, boolean>): string {
  const m = allocateMemory(MAX_RECORD_BYTES + 16);
  const original = { source: '10.0.0.1', destination: '10.0.0.2' };
  const end = recordFromFlow({ family: 'ipv4', protocol: '50', original, status: [], timeout: 9 }, m, 0);
  const words = [PART_TIMESTAMP_EVENT | (8 << 16), Number(WHEN_NS & 0xffffffffn), Number(WHEN_NS >> 32n)];
  m.u32.set(words, end >>> 2);
  m.u16[OFF_LENGTH >>> 1] = end + 12;
  let text = '';
  const run = new Run({
    out: (bytes) => {
      text += Buffer.from(bytes).toString('latin1');
    },
    err: () => undefined,
  });
  const settings = newSettings('E', 'conntrack', new Set());
  Object.assign(settings.output, output);
  const printer = new Printer(run, settings);
  printer.tick();
  printer.event(EVENT_NEW, m, 0, SEEN_MARK | SEEN_STATUS, 1);
  printer.end();
  return text;
}

test('an event is stamped with the time that the kernel says, and names who caused it', () => {
  expect(shown({ hasTimestamp: true })).toMatch(
    /^\[1704164645\.67890\d\]\t {4}\[NEW\] unknown {2}50 9 src=10\.0\.0\.1 .* \[USERSPACE\] portid=1( progname=\S+)?\n$/,
  );
});

test('in XML too, where nobody is named: a document has no room for it', () => {
  const date = new Date(Number(WHEN_NS / 1_000_000n));
  const text = shown({ hasTimestamp: true, isXml: true });
  expect(text).not.toContain('USERSPACE');
  expect(text).toContain(`<when><hour>${date.getHours()}</hour><min>${date.getMinutes()}</min><sec>5</sec>`);
});
