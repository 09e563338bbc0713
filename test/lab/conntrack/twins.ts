/** Two network namespaces that are alike: Debian's conntrack works in one, Conntwin's in the other. */
import { enterNetNamespace } from '../../../native/net-namespace.js';
import { runConntrack } from '../../../src/conntrack/main.js';
import { runSync } from '../command.js';
import { addNamespace, freePrefix, removeNamespace } from '../namespaces.js';
import type { Outcome } from './comparison.js';

/** Connection tracking and translation are on, and some rule uses labels, or the kernel drops them. */
const RULESET = `
table inet filter {
  chain input {
    type filter hook input priority 0
    ct state established accept
    ct label 5 accept
  }
}
table ip nat { chain postrouting { type nat hook postrouting priority 100; } }
table ip6 nat { chain postrouting { type nat hook postrouting priority 100; } }
`.replaceAll('; } }', '\n }\n}');

const SETTINGS = ['nf_conntrack_events=1', 'nf_conntrack_acct=1', 'nf_conntrack_timestamp=1'];

function inside<T>(namespace: string, use: () => T): T {
  const leave = enterNetNamespace(namespace);
  try {
    return use();
  } finally {
    leave();
  }
}

export class Twins {
  readonly debian: string;
  readonly twin: string;

  private constructor(prefix: string) {
    this.debian = `${prefix}debian`;
    this.twin = `${prefix}twin`;
  }

  /** Throws LabError where namespaces cannot be made. */
  static async create(): Promise<Twins> {
    const twins = new Twins(freePrefix());
    for (const name of [twins.debian, twins.twin]) {
      await addNamespace(name);
      const loaded = inside(name, () => runSync(['nft', '-f', '-'], RULESET));
      if (loaded.code !== 0) throw new Error(`nft: ${loaded.stderr}`);
      for (const setting of SETTINGS) {
        inside(name, () => runSync(['sysctl', '-qw', `net.netfilter.${setting}`]));
      }
    }
    return twins;
  }

  /** Debian's program, in its own namespace or the other. */
  runDebian(words: readonly string[], namespace = this.debian): Outcome {
    return inside(namespace, () => runSync(['conntrack', ...words]));
  }

  /** Conntwin's command, in this process. */
  async runTwin(words: readonly string[]): Promise<Outcome> {
    let stdout = '';
    let stderr = '';
    const leave = enterNetNamespace(this.twin);
    try {
      const code = await runConntrack(words, {
        out: (bytes) => {
          stdout += Buffer.from(bytes).toString('latin1');
        },
        err: (text) => {
          stderr += text;
        },
      });
      return { code, stdout, stderr };
    } finally {
      leave();
    }
  }

  /** Both tables, as Debian's program shows them. */
  tables(): { debian: string; twin: string } {
    const table = (name: string) =>
      this.runDebian(['-L', '-o', 'extended,labels'], name).stdout +
      this.runDebian(['-L', '-o', 'save'], name).stdout;
    return { debian: table(this.debian), twin: table(this.twin) };
  }

  flush(): void {
    for (const name of [this.debian, this.twin]) this.runDebian(['-F'], name);
  }

  close(): void {
    for (const name of [this.debian, this.twin]) removeNamespace(name);
  }
}
