import { getSystemErrorMap } from 'node:util';

/** Name of a positive errno ("EPERM"), or "E<number>" where Node knows none. */
export function errnoName(errno: number): string {
  return getSystemErrorMap().get(-errno)?.[0] ?? `E${errno}`;
}

/** A libc call failed: which operation, the errno and its name. The message is one line. */
export class SystemError extends Error {
  override readonly name: string = 'SystemError';
  readonly operation: string;
  readonly errno: number;
  readonly code: string;

  constructor(operation: string, errno: number, options: { advice?: string; cause?: unknown } = {}) {
    const [code, text] = getSystemErrorMap().get(-errno) ?? [`E${errno}`, 'unknown error'];
    const advice = options.advice === undefined ? '' : `: ${options.advice}`;
    super(`${operation}: ${text} (${code})${advice}`, { cause: options.cause });
    this.operation = operation;
    this.errno = errno;
    this.code = code;
  }
}

/** No network interface has this name in this network namespace. */
export class InterfaceMissingError extends SystemError {
  override readonly name = 'InterfaceMissingError';

  constructor(name: string, errno: number) {
    super(`find interface "${name}"`, errno, {
      advice: 'create it, or correct its name in the configuration',
    });
  }
}

/** Another socket holds the address and port. */
export class AddressInUseError extends SystemError {
  override readonly name = 'AddressInUseError';

  constructor(operation: string, errno: number) {
    super(operation, errno, {
      advice: 'another program (a second daemon?) uses it: stop it, or take another port',
    });
  }
}

/** This host has no such address. */
export class AddressMissingError extends SystemError {
  override readonly name = 'AddressMissingError';

  constructor(operation: string, errno: number) {
    super(operation, errno, {
      advice: 'no interface has this address: add it, or correct the configuration',
    });
  }
}
