/** What ends a run of the conntrack command: its exit codes, and one class for each. */

export const EXIT_OK = 0;
/** Everything that is not the command line's fault: the kernel refused, or nothing was found. */
export const EXIT_OTHER = 1;
/** The command line is wrong. */
export const EXIT_PARAMETERS = 2;

/** The command line is wrong: the message names the option and says what to do. */
export class ParameterError extends Error {
  override readonly name = 'ParameterError';
}

/** The kernel refused, or a file could not be used. */
export class OperationError extends Error {
  override readonly name = 'OperationError';
}
