/**
 * Conversations between two namespaces of a lab, in a process of its own; the report is one JSON line:
 *   conversations-program.js tcp|udp CLIENT_NS SERVER_NS COUNT FIRST PER_SECOND HALF_TRIP_MS
 */
import { SERVER_ADDRESS } from '../lab/lab.js';
import { OUTSIDE_ADDRESS } from '../lab/ruleset.js';
import { Conversations } from './conversations.js';
import { TCP_STEPS, UDP_STEPS } from './packets.js';

const CLIENT_ADDRESS = '10.1.0.100';
/** A batch starts every two milliseconds, as far as that makes batches of sensible size. */
const BATCHES_PER_SECOND = 500;
const BATCH_MAX = 64;

const [protocol, client, server, ...numbers] = process.argv.slice(2);
const [count, first, perSecond, halfTripMs] = numbers.map(Number);
const conversations = new Conversations({
  namespaces: { client, server },
  client: CLIENT_ADDRESS,
  server: SERVER_ADDRESS,
  translated: OUTSIDE_ADDRESS,
  steps: protocol === 'udp' ? UDP_STEPS : TCP_STEPS,
  batch: Math.max(1, Math.min(BATCH_MAX, Math.round(perSecond / BATCHES_PER_SECOND))),
  halfTripMs,
});
process.stdout.write(`${JSON.stringify(conversations.run(count, first, perSecond))}\n`);
conversations.close();
