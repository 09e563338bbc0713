/** Flows of the generator in a firewall's kernel, without any traffic behind them. */
import type { ChildProcess } from 'node:child_process';
import { ended } from './command.js';
import type { GeneratorReport, GeneratorVerb } from './flow-generator.js';
import type { Lab, NodeName } from './lab.js';
import { program } from './program.js';

/** The generator, with its arguments as flow-generator-program.ts tells. */
export const GENERATOR_PROGRAM = 'test/lab/flow-generator-program';

export interface GenerateOptions {
  /** Number of the first flow. */
  readonly first?: number;
  /** As fast as the kernel goes when absent. */
  readonly perSecond?: number;
}

/** Creates, updates or deletes `count` numbered flows in a node's kernel. */
export async function generate(
  lab: Lab,
  node: NodeName,
  verb: GeneratorVerb,
  count: number,
  { first = 0, perSecond = 0 }: GenerateOptions = {},
): Promise<GeneratorReport> {
  const argv = [...program(GENERATOR_PROGRAM), verb, ...[count, first, perSecond].map(String)];
  return JSON.parse(await lab.exec(node, argv)) as GeneratorReport;
}

/** Creates `count` numbered flows in a node's kernel, updates them all and deletes the second half. */
export async function exercise(
  lab: Lab,
  node: NodeName,
  count: number,
  { first = 0, perSecond = 0 }: GenerateOptions = {},
): Promise<void> {
  const half = Math.floor(count / 2);
  const reports = [
    await generate(lab, node, 'create', count, { first, perSecond }),
    await generate(lab, node, 'update', count, { first, perSecond }),
    await generate(lab, node, 'delete', count - half, { first: first + half, perSecond }),
  ];
  for (const { errors } of reports) {
    if (Object.keys(errors).length > 0) throw new Error(`the kernel refused: ${JSON.stringify(errors)}`);
  }
}

/** Flows that come and go in a node's kernel until `stop`. */
export class Churn {
  private output = '';

  private constructor(private readonly child: ChildProcess) {
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.output += text;
    });
  }

  /** Starts to create and delete flows from number `first` on, `perSecond` of each, `alive` at a time. */
  static start(lab: Lab, node: NodeName, perSecond: number, alive: number, first = 0): Churn {
    const argv = [...program(GENERATOR_PROGRAM), 'churn', ...[perSecond, alive, first].map(String)];
    return new Churn(lab.spawn(node, argv, { stdio: ['pipe', 'pipe', 'inherit'] }));
  }

  /** Ends it, with every flow it made deleted, and resolves with what it did. */
  async stop(): Promise<GeneratorReport> {
    const closed = new Promise((resolve) => this.child.once('close', resolve));
    this.child.stdin?.end();
    await Promise.all([closed, ended(this.child)]);
    return JSON.parse(this.output) as GeneratorReport;
  }
}
