/** The lab's own programs, which run as processes of their own inside its namespaces. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LabError } from './namespaces.js';

/** The directory of package.json, above this file whether it runs as TypeScript or compiled. */
export function repositoryRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, 'package.json'))) directory = dirname(directory);
  return directory;
}

/** Command line (without arguments) of a compiled program, for example `test/lab/traffic-program`. */
export function program(path: string): string[] {
  const file = join(repositoryRoot(), 'dist', `${path}.js`);
  if (!existsSync(file)) throw new LabError(`${file} is missing: npm run build`);
  return [process.execPath, file];
}

/** Command line of the conntwin command. */
export const CONNTWIN_PROGRAM = 'src/cli/main';
