/** Prints what the rules of its network namespace make the kernel do, as JSON. */
import { RulesetReader } from '../../src/kernel/ruleset.js';

const reader = new RulesetReader();
while (!reader.step());
process.stdout.write(JSON.stringify(reader.facts));
