/** Whether the links' interfaces are as the configuration says: what nobody notices while frames go through all the same. */
import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { parseAddress } from '../flow/address.js';
import type { LinkConfig } from './config.js';

/** Time between two looks; nothing hangs on it but a warning. Milliseconds. */
const LOOK_MS = 5000;

/** What this machine says of an interface; undefined: nothing. */
export interface InterfaceLook {
  mtu(name: string): number | undefined;
  addresses(name: string): readonly string[] | undefined;
}

export class LinkCheck {
  readonly #links: readonly LinkConfig[];
  readonly #look: InterfaceLook;
  #problems: readonly string[] = [];
  #lookedAt = Number.NEGATIVE_INFINITY;

  constructor(links: readonly LinkConfig[], look: InterfaceLook = MACHINE) {
    this.#links = links;
    this.#look = look;
  }

  /** What is wrong, in sentences. */
  problems(now: number): readonly string[] {
    if (now - this.#lookedAt >= LOOK_MS) {
      this.#lookedAt = now;
      this.#problems = this.#links.flatMap((link, i) => this.#of(link, i));
    }
    return this.#problems;
  }

  #of({ interface: name, address, mtu }: LinkConfig, i: number): string[] {
    const problems: string[] = [];
    const real = this.#look.mtu(name);
    if (real !== undefined && real < mtu) {
      problems.push(
        `links[${i}]: mtu is ${mtu} and that of ${name} is ${real}: write \`mtu: ${real}\` on every node`,
      );
    }
    const addresses = this.#look.addresses(name);
    if (addresses !== undefined && !addresses.some((each) => isSame(each, address))) {
      problems.push(
        `links[${i}]: ${name} does not have the address ${address}: it has ${addresses.join(', ')}`,
      );
    }
    return problems;
  }
}

const isSame = (a: string, b: string): boolean => String(parseAddress(a)) === String(parseAddress(b));

const MACHINE: InterfaceLook = {
  mtu: (name) => {
    try {
      return Number(readFileSync(`/sys/class/net/${name}/mtu`, 'latin1')) || undefined;
    } catch {
      // No such interface (the link says so), or no sysfs of this namespace.
      return undefined;
    }
  },
  addresses: (name) => networkInterfaces()[name]?.map(({ address }) => address),
};
