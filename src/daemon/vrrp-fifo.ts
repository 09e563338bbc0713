/**
 * keepalived's notify FIFO as the daemon has it open: made if it is missing, opened again when another file has its name,
 * refused when somebody else could write into it. What is wrong never ends the daemon: it is told, and tried again.
 */
import { lstatSync, type Stats } from 'node:fs';
import { dirname } from 'node:path';
import { FifoReader, makeFifo } from '../../native/fifo.js';
import type { Log } from '../flow/log.js';
import { FIFO_LOOK_MS, FIFO_READ_BYTES, FIFO_READS } from '../limits.js';

/** A FIFO holds 64 KiB (linux/pipe_fs_i.h); this near to it what keepalived wrote last did perhaps not fit. Bytes. */
const FULL_BYTES = 60 << 10;
const OTHERS_WRITE = 0o022;
const PERMISSIONS = 0o777;

export interface VrrpFifoPorts {
  /** A piece of what was read; the memory is used again. */
  push(u8: Uint8Array, length: number): void;
  /** All that there is was read. */
  turn(): void;
  /** Another FIFO was opened. */
  restart(): void;
  readonly log: Log;
}

export class VrrpFifo {
  /** Why it is not open, and what to do; undefined: it is open. */
  problem: string | undefined;
  readonly path: string;
  readonly #ports: VrrpFifoPorts;
  readonly #piece = new Uint8Array(FIFO_READ_BYTES);
  readonly #timer: NodeJS.Timeout;
  #reader: FifoReader | undefined;
  #inode = 0;
  #wasHeld: boolean | undefined;

  constructor(path: string, ports: VrrpFifoPorts) {
    this.path = path;
    this.#ports = ports;
    this.#look();
    this.#timer = setInterval(() => this.#look(), FIFO_LOOK_MS);
  }

  /** Some other process has it open: keepalived runs and knows of it. */
  get isHeld(): boolean {
    return this.#reader?.isHeld === true;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#reader?.close();
    this.#reader = undefined;
  }

  /** Opens it if need be; is it still the file of that name, and does somebody hold it? */
  #look(): void {
    try {
      const found = lstatSync(this.path, { throwIfNoEntry: false });
      if (this.#reader !== undefined && found?.ino !== this.#inode) {
        this.#read(true);
        this.#leave('another file has its name now');
      }
      if (found !== undefined) check(found);
      if (this.#reader === undefined) this.#open(found === undefined);
      this.#read(true);
      this.#tellHeld();
    } catch (error) {
      this.#complain(this.#problemOf(error as NodeJS.ErrnoException));
    }
  }

  #open(isMissing: boolean): void {
    if (isMissing) makeFifo(this.path);
    const reader = new FifoReader(this.path, () => this.#onReadable());
    const stats = reader.stat();
    try {
      // Another file may have got the name meanwhile.
      check(stats);
    } catch (error) {
      reader.close();
      throw error;
    }
    this.#reader = reader;
    this.#inode = stats.ino;
    this.problem = undefined;
    this.#ports.restart();
    this.#ports.log('info', 'vrrp: FIFO open', { fifo: this.path });
  }

  #onReadable(): void {
    try {
      this.#read(false);
    } catch (error) {
      this.#complain(this.#problemOf(error as NodeJS.ErrnoException));
    }
  }

  /** Reads to the end, or as much as one turn may take: the next one is called at once then. */
  #read(isLook: boolean): void {
    const reader = this.#reader;
    if (reader === undefined) return;
    let total = 0;
    for (let i = 0; i < FIFO_READS; i++) {
      const length = i === 0 && isLook ? reader.look(this.#piece) : reader.read(this.#piece);
      if (length === 0) break;
      total += length;
      this.#ports.push(this.#piece, length);
    }
    if (total >= FULL_BYTES) {
      this.#ports.log('warn', 'vrrp: the FIFO was full, keepalived may have lost its last lines', {
        bytes: total,
        advice: 'compare the role with keepalived, or reload it: it says its states again',
      });
    }
    this.#ports.turn();
  }

  #tellHeld(): void {
    if (this.isHeld === this.#wasHeld) return;
    this.#wasHeld = this.isHeld;
    if (this.isHeld) this.#ports.log('info', 'vrrp: keepalived has the FIFO open', { fifo: this.path });
    else
      this.#ports.log('warn', 'vrrp: nobody has the FIFO open, is keepalived running?', { fifo: this.path });
  }

  #complain(problem: string): void {
    if (problem !== this.problem) this.#ports.log('error', `vrrp: ${problem}`);
    this.problem = problem;
    this.#leave('it cannot be used');
  }

  #leave(reason: string): void {
    if (this.#reader === undefined) return;
    this.#reader.close();
    this.#reader = undefined;
    this.#wasHeld = undefined;
    this.#ports.log('warn', 'vrrp: FIFO closed', { fifo: this.path, reason });
  }

  #problemOf(error: NodeJS.ErrnoException): string {
    const where = `failover.vrrp_fifo ${this.path}`;
    if (error instanceof FifoRefused) return `${where}: ${error.message}`;
    if (error.code === 'ENOENT') return `${where}: ${dirname(this.path)} does not exist: make this directory`;
    if (error.code === 'EACCES' || error.code === 'EPERM') {
      return `${where}: no permission for uid ${process.geteuid?.()}: write its user after the path in keepalived's vrrp_notify_fifo`;
    }
    return `${where}: ${error.message}`;
  }
}

/** The file of that name is not one to believe; the message says why and what to do. */
class FifoRefused extends Error {}

/** Whoever can write into the FIFO turns this firewall's role. Throws FifoRefused. */
function check(stats: Stats): void {
  if (!stats.isFIFO()) throw new FifoRefused(`it is ${kindOf(stats)}, not a FIFO: remove it`);
  if (stats.uid !== 0 && stats.uid !== process.geteuid?.()) {
    const owner = `it belongs to uid ${stats.uid}, neither root nor this daemon`;
    throw new FifoRefused(`${owner}: remove it, and it is made anew`);
  }
  if ((stats.mode & OTHERS_WRITE) === 0) return;
  const mode = (stats.mode & PERMISSIONS).toString(8).padStart(4, '0');
  throw new FifoRefused(`others than its owner may write into it (mode ${mode}): chmod 600`);
}

function kindOf(stats: Stats): string {
  if (stats.isFile()) return 'a file';
  if (stats.isDirectory()) return 'a directory';
  if (stats.isSymbolicLink()) return 'a symbolic link';
  return stats.isSocket() ? 'a socket' : 'a device';
}
