/**
 * The kernel's own limit, from a loop that does nothing with what it gets, in the namespace it runs in:
 *   kernel-limit-program.js receive    takes events until standard input ends; then {datagrams}
 *   kernel-limit-program.js dump       one dump of the table; {bytes, durationMs}
 * Injection alone is what the flow generator does.
 */
import { pinnedBytes } from '../../native/libc.js';
import { NetlinkSocket } from '../../native/netlink-socket.js';
import { ReadPacer } from '../../native/read-pacer.js';
import { DatagramVector } from '../../native/structs.js';
import { AttributeWriter } from '../../src/kernel/attribute-writer.js';
import { writeDumpRequest } from '../../src/kernel/dump-request.js';
import {
  NFNLGRP_CONNTRACK_DESTROY,
  NFNLGRP_CONNTRACK_NEW,
  NFNLGRP_CONNTRACK_UPDATE,
  NLMSG_DONE,
} from '../../src/kernel/enums.js';
import { EVENT_BATCH, EVENT_BUFFER_DEFAULT_BYTES } from '../../src/limits.js';

/** What Conntwin's own reader takes: the difference is what it does with an event. */
const EVENT_BYTES = 1024;
const BUSY_EVENTS = 20;
const DUMP_BYTES = 32768;

const say = (report: unknown) => process.stdout.write(`${JSON.stringify(report)}\n`);

function receive(): void {
  const socket = new NetlinkSocket();
  socket.setReceiveBuffer(EVENT_BUFFER_DEFAULT_BYTES);
  socket.ignoreOverruns();
  for (const group of [NFNLGRP_CONNTRACK_NEW, NFNLGRP_CONNTRACK_UPDATE, NFNLGRP_CONNTRACK_DESTROY]) {
    socket.joinGroup(group);
  }
  const vector = new DatagramVector(EVENT_BATCH, EVENT_BYTES);
  let datagrams = 0;
  const pacer = new ReadPacer(
    socket.fd,
    BUSY_EVENTS,
    () => {
      let events = 0;
      for (let count = EVENT_BATCH; count === EVENT_BATCH; events += Math.max(0, count)) {
        count = socket.receiveMany(vector);
      }
      datagrams += events;
      pacer.report(events, false);
    },
    () => undefined,
  );
  say('ready');
  process.stdin.on('end', () => {
    pacer.close();
    socket.close();
    say({ datagrams });
  });
  process.stdin.resume();
}

function dump(): void {
  const socket = new NetlinkSocket();
  const data = pinnedBytes(DUMP_BYTES);
  const words = new Uint32Array(data.buffer);
  const request = new AttributeWriter();
  const start = performance.now();
  let bytes = 0;
  const length = writeDumpRequest(request, 1, 'table');
  socket.send(request.bytes, length);
  for (;;) {
    const got = socket.receive(data);
    if (got < 0) throw new Error(`a dump ended with errno ${-got}`);
    bytes += got;
    // The type stands in the second half of the header's second word.
    if ((words[1] & 0xffff) === NLMSG_DONE) break;
  }
  say({ bytes, durationMs: performance.now() - start });
  socket.close();
}

if (process.argv[2] === 'dump') dump();
else receive();
