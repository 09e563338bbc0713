/** Two network namespaces that are alike: Debian's conntrack works in one, Conntwin's in the other. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { enterNetNamespace } from '../../../native/net-namespace.js';
import { runConntrack } from '../../../src/conntrack/main.js';
import { CounterMap } from '../../../src/flow/counters.js';
import { recordFromFlow } from '../../../src/flow/flow.js';
import { KernelBatch, OP_CREATE } from '../../../src/flow/kernel-port.js';
import { allocateMemory, MAX_RECORD_BYTES } from '../../../src/flow/record.js';
import { Injector } from '../../../src/kernel/injector.js';
import { runSync } from '../command.js';
import { addNamespace, freePrefix, removeNamespace } from '../namespaces.js';
import { CONNTWIN_PROGRAM, program } from '../program.js';
import type { Outcome } from './comparison.js';
import { MASTER } from './expectation-words.js';

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

const SETTINGS = [
  ...['nf_conntrack_events=1', 'nf_conntrack_acct=1', 'nf_conntrack_timestamp=1'],
  // What loopback-program.js makes must last for a round.
  ...['nf_conntrack_udp_timeout=3000', 'nf_conntrack_udp_timeout_stream=3000'],
];
/** Datagrams each way that make counters. */
const LOOPBACK_DATAGRAMS = 5;

/** Does something in a namespace; sockets and programs that begin there stay there. */
export function inside<T>(namespace: string, use: () => T): T {
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
  private readonly directory = mkdtempSync(join(tmpdir(), 'ct-twins-'));

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
      inside(name, () => runSync(['ip', 'link', 'set', 'lo', 'up']));
    }
    return twins;
  }

  /** Debian's program, in its own namespace or the other. */
  runDebian(words: readonly string[], namespace = this.debian): Outcome {
    return inside(namespace, () => runSync(['conntrack', ...words]));
  }

  /** Debian's program with something to read; its standard input must be a real pipe: it opens it once more by its name. */
  pipeDebian(words: readonly string[], input: string): Outcome {
    return inside(this.debian, () => runSync(['sh', '-c', 'cat | conntrack "$@"', 'sh', ...words], input));
  }

  /** Conntwin's command as a process, with something to read. */
  pipeTwin(words: readonly string[], input: string): Outcome {
    return inside(this.twin, () => runSync([...program(CONNTWIN_PROGRAM), 'conntrack', ...words], input));
  }

  /** The path of a file with this text; the next one takes its place. */
  file(text: string): string {
    const path = join(this.directory, 'lines');
    writeFileSync(path, text);
    return path;
  }

  /** Conntwin's command, in this process. */
  async runTwin(words: readonly string[], namespace = this.twin): Promise<Outcome> {
    let stdout = '';
    let stderr = '';
    const leave = enterNetNamespace(namespace);
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

  /** The control connection of MASTER with the FTP helper, in both; false where the kernel has no such helper. */
  async makeMaster(): Promise<boolean> {
    const m = allocateMemory(MAX_RECORD_BYTES);
    const protoinfo = { kind: 'tcp', state: 'SYN_RECV' } as const;
    const status = ['SEEN_REPLY', 'ASSURED'] as const;
    const flow = { family: 'ipv4', protocol: 'tcp', original: MASTER, helper: 'ftp', timeout: 3000 } as const;
    recordFromFlow({ ...flow, protoinfo, status: [...status] }, m, 0);
    const both = [this.debian, this.twin];
    const hasHelper = both.every((name) => {
      const injector = inside(name, () => new Injector(new CounterMap()));
      const batch = new KernelBatch(1);
      batch.add(OP_CREATE, 0, m, 0);
      injector.execute(batch);
      injector.close();
      return batch.errno[0] === 0;
    });
    // Debian's -U of TCP writes its flags into every flow that it changes: let this one have them already.
    const words = ['-U', '-p', 'tcp', '-s', MASTER.source, '--state', 'ESTABLISHED'];
    for (const name of hasHelper ? both : []) await this.runTwin(words, name);
    return hasHelper;
  }

  /** A flow with counters that are not zero, in both. */
  makeTraffic(): void {
    const argv = [...program('test/lab/conntrack/loopback-program'), String(LOOPBACK_DATAGRAMS)];
    for (const name of [this.debian, this.twin]) inside(name, () => runSync(argv));
  }

  flush(): void {
    for (const name of [this.debian, this.twin]) this.runDebian(['-F'], name);
  }

  close(): void {
    for (const name of [this.debian, this.twin]) removeNamespace(name);
    rmSync(this.directory, { recursive: true, force: true });
  }
}
