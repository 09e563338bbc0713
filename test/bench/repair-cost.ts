/**
 * What replication itself costs, without sockets and kernel: two replicators over two tables of a million flows in one
 * process, frames handed over in memory, time by a virtual clock. Prints bytes on the link (with UDP, IP and Ethernet
 * headers) and CPU per record for a full bulk, a re-join of equal tables, and the repair of random differences.
 *
 *     npm run bench:repair [flows] [differences]
 */
import { RepairPair } from '../simulation/repair-pair.js';

function report(what: string, bytes: number): void {
  const { a, b, clockMs } = pair;
  const cpu = `CPU ms: a sends ${a.flushMs.toFixed(0)}, b applies ${b.receiveMs.toFixed(0)}`;
  const each = `${((a.flushMs * 1000) / flows).toFixed(2)} and ${((b.receiveMs * 1000) / flows).toFixed(2)} us a flow`;
  console.log(
    `${what}: ${bytes} bytes, ${a.frames + b.frames} frames, ${clockMs} ms of the clock; ${cpu} (${each})`,
  );
}

const flows = Number(process.argv[2] ?? 1_000_000);
const differences = Number(process.argv[3] ?? 1000);
const pair = new RepairPair(flows);
pair.fill();
for (const side of [pair.a, pair.b]) side.replicator.setMirrorReady();
report('bulk as deltas', pair.measure('bulk as deltas'));
pair.b.replicator.requestRepair('a');
const bulk = pair.measure('bulk as scopes');
report('bulk as scopes', bulk);
pair.spoil(differences);
const repair = pair.measure('repair');
report(`repair of ${differences} differences`, repair);
console.log(`  ${((100 * repair) / bulk).toFixed(2)} % of the bulk`);
pair.a.restart();
pair.a.replicator.setMirrorReady();
report('re-join of equal tables', pair.measure('re-join'));
