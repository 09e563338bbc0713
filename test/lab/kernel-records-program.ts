/**
 * Prints the durable fields of every flow in this namespace's kernel as hexadecimal lines, sorted: more than
 * conntrack(8) shows (labels, window scales, vtags), read by conntwin's own dump.
 */
import { CounterMap } from '../../src/flow/counters.js';
import { DUMP_MORE } from '../../src/flow/kernel-port.js';
import { lengthOf, OFF_KEY } from '../../src/flow/record.js';
import { Dumper } from '../../src/kernel/dumper.js';

const dumper = new Dumper({ counters: new CounterMap(), isShown: false });
const lines: string[] = [];
dumper.start();
let result = DUMP_MORE;
while (result === DUMP_MORE) {
  result = dumper.next((m, at) => {
    lines.push(Buffer.from(m.u8.subarray(at + OFF_KEY, at + lengthOf(m, at))).toString('hex'));
  });
}
dumper.close();
process.stdout.write(lines.sort().join('\n'));
