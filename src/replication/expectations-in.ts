/** Applies what a peer's stream says of its expectations, and compares at MARK and at the end of a run. */
import { validateExpectation } from '../flow/expectation.js';
import type { OpReader } from '../wire/op-reader.js';
import type { Peer } from './peer.js';
import type { Self } from './self.js';

export class ExpectationsIn {
  readonly #self: Self;
  readonly #ops: OpReader;
  #runs = 0;

  constructor(self: Self, ops: OpReader) {
    this.#self = self;
    this.#ops = ops;
  }

  /** Takes an EXPECT_UPSERT; returns why it is refused, or undefined. */
  upsert(peer: Peer, now: number): string | undefined {
    const { expectation, expectationBytes } = this.#ops;
    const reason = validateExpectation(expectation, 0, expectationBytes);
    if (reason !== undefined) return reason;
    const heardS = (now / 1000) >>> 0;
    const entry = this.#self.ports.table.expectations.put(peer.owner, expectation, 0, heardS);
    if (entry === undefined) this.#self.suspect(peer, 'expectation.full');
    else entry.shown = peer.expectations.run;
    if (peer.expectations.run !== 0) peer.expectations.progress(now);
    return undefined;
  }

  delete(peer: Peer): void {
    const { expectations } = this.#self.ports.table;
    const entry = expectations.find(peer.owner, this.#ops.expectation, 0);
    if (entry !== undefined) expectations.remove(entry);
    else this.#self.ports.counters.count('op.delete-of-nothing');
  }

  runBegin(peer: Peer, now: number): void {
    peer.expectations.run = ++this.#runs;
    peer.expectations.progress(now);
  }

  /** Ends the run: what it did not name is not in the owner's image, if the run came whole. True if given up. */
  runEnd(peer: Peer): boolean {
    const { counters, table } = this.#self.ports;
    const { run } = peer.expectations;
    if (run === 0) {
      counters.count('repair.gapped');
      return false;
    }
    for (const entry of table.expectations.list(peer.owner)) {
      if (entry.shown !== run) table.expectations.remove(entry);
    }
    counters.count('repair.expectations');
    return peer.expectations.runDone(this.#isAsSaid(peer, this.#ops.count, this.#ops.lo, this.#ops.hi));
  }

  /** Compares with what MARK says, and asks where they differ. True if they are equal. */
  mark(peer: Peer): boolean {
    const { expectationCount, expectationLo, expectationHi } = this.#ops;
    if (this.#isAsSaid(peer, expectationCount, expectationLo, expectationHi)) {
      peer.expectations.finish();
      return true;
    }
    this.#self.suspect(peer, 'stream.expectations-differ');
    peer.expectations.isEqual = false;
    if (peer.mode === 'reliable' && peer.expectations.run === 0) peer.expectations.want();
    return false;
  }

  #isAsSaid(peer: Peer, count: number, lo: number, hi: number): boolean {
    const { expectations } = this.#self.ports.table;
    expectations.sum(peer.owner);
    return expectations.count === count && expectations.lo === lo && expectations.hi === hi;
  }
}
