// Vitest's JSON reporter with what it leaves out: why a test was skipped (as `meta.note`), and for a failure the
// message and the difference before the stack, which is then cut to the lines of this repository.
import { JsonReporter } from 'vitest/node';

const isOurs = (line) =>
  line.startsWith('    at ') &&
  !line.includes('node_modules') &&
  !line.includes('node:') &&
  line.includes('/');

export default class extends JsonReporter {
  async onTestRunEnd(modules, ...rest) {
    for (const module of modules) {
      for (const test of module.children.allTests('skipped')) test.task.meta.note = test.result().note;
      for (const test of module.children.allTests('failed')) {
        for (const error of test.task.result.errors) {
          const frames = (error.stack ?? '').split('\n').filter(isOurs);
          error.stack = [error.message, error.diff, ...frames].filter(Boolean).join('\n');
        }
      }
    }
    return super.onTestRunEnd(modules, ...rest);
  }
}
