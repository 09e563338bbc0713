/** A line of a file to words: blanks divide them, quotes hold them together, # begins a comment. */
import { COMMAND_LINE_MAX_BYTES } from '../limits.js';
import { ParameterError } from './errors.js';

const isBlank = (c: string): boolean => c === ' ' || c === '\t' || c === '\r';

/** Throws ParameterError for a quote that does not end, and for a line that is too long. */
export function splitWords(line: string): string[] {
  if (line.length > COMMAND_LINE_MAX_BYTES) {
    throw new ParameterError(`longer than ${COMMAND_LINE_MAX_BYTES} characters: no command is`);
  }
  const words: string[] = [];
  let at = 0;
  while (at < line.length) {
    while (at < line.length && isBlank(line[at])) at++;
    if (at >= line.length || line[at] === '#') break;
    let word = '';
    while (at < line.length && !isBlank(line[at])) {
      const quote = line[at];
      if (quote === '"' || quote === "'") {
        const end = line.indexOf(quote, at + 1);
        if (end < 0) throw new ParameterError(`a ${quote} is opened and not closed`);
        word += line.slice(at + 1, end);
        at = end + 1;
      } else word += line[at++];
    }
    words.push(word);
  }
  return words;
}
