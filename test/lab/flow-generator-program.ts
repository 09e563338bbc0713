/**
 * The flow generator as a program that runs in a namespace of the lab; the report is one JSON line:
 *   flow-generator-program.js create|update|delete COUNT [FIRST] [PER_SECOND]
 *   flow-generator-program.js schedule COUNT FIRST PER_SECOND
 *   flow-generator-program.js churn PER_SECOND ALIVE [FIRST]         until standard input ends
 */
import { FlowGenerator, GENERATOR_VERBS, type GeneratorVerb } from './flow-generator.js';

async function main([verb, ...rest]: string[]): Promise<void> {
  const generator = new FlowGenerator();
  const numbers = rest.map(Number);
  if (verb === 'churn') {
    const ending = new AbortController();
    process.stdin.on('end', () => ending.abort());
    process.stdin.resume();
    const [perSecond, alive, first = 0] = numbers;
    const report = await generator.churn(perSecond, alive, first, ending.signal);
    process.stdout.write(`${JSON.stringify(report)}\n`);
  } else if (verb === 'schedule') {
    const [count, first, perSecond] = numbers;
    process.stdout.write(`${JSON.stringify(generator.scheduled(count, first, perSecond))}\n`);
  } else if (verb in GENERATOR_VERBS) {
    const [count, first, perSecond] = numbers;
    const report = await generator.run(verb as GeneratorVerb, count, first, perSecond);
    process.stdout.write(`${JSON.stringify(report)}\n`);
  } else throw new RangeError(`no such verb: ${verb}`);
  generator.close();
}

await main(process.argv.slice(2));
