import { NetlinkSocket } from '../../native/netlink-socket.js';
import { ReadinessWatcher } from '../../native/readiness.js';
import { type BpfInstruction, DatagramVector } from '../../native/structs.js';
import { NFNLGRP_CONNTRACK_NEW } from './enums.js';

/** Rings that may wait; one that finds no room is no loss (/proc/net/netlink counts it as a drop all the same). Bytes. */
const BUFFER_BYTES = 64 << 10;
/** Rings taken with one system call. */
const BATCH = 32;
/** Nothing of them is looked at. */
const RING_BYTES = 64;

/**
 * Rings when the kernel tells of a new flow: a second socket that hears of nothing else. While the events of a steady
 * stream wait for each other, creations need not: the bell wakes the reader, which reads all there is from its own
 * socket, in order.
 */
export class NewFlowBell {
  private readonly socket = new NetlinkSocket();
  private readonly vector = new DatagramVector(BATCH, RING_BYTES);
  private readonly watcher: ReadinessWatcher;
  private isOn = false;

  /** `program` is the reader's own filter. Throws SystemError. */
  constructor(program: readonly BpfInstruction[], onRing: () => void) {
    try {
      this.socket.setReceiveBuffer(BUFFER_BYTES);
      this.socket.ignoreOverruns();
      this.socket.attachFilter(program);
    } catch (error) {
      this.socket.close();
      throw error;
    }
    this.watcher = new ReadinessWatcher(
      this.socket.fd,
      () => {
        if (this.take() > 0 && this.isOn) onRing();
      },
      // It rings no more: events come a little later.
      () => this.set(false),
    );
  }

  /** Off, it costs neither the kernel nor this process anything. */
  set(isOn: boolean): void {
    if (isOn === this.isOn) return;
    this.isOn = isOn;
    if (isOn) this.socket.joinGroup(NFNLGRP_CONNTRACK_NEW);
    else this.socket.leaveGroup(NFNLGRP_CONNTRACK_NEW);
  }

  /** Takes the rings that wait, BATCH at most: how many. */
  take(): number {
    return Math.max(0, this.socket.receiveMany(this.vector));
  }

  close(): void {
    this.watcher.close();
    this.socket.close();
  }
}
