import { EINVAL, EPERM, EPROTONOSUPPORT } from '../../native/libc.js';
import { SystemError } from '../../native/system-error.js';

/** The process may not read or write the conntrack table of this network namespace. */
export class NetAdminMissingError extends SystemError {
  override readonly name = 'NetAdminMissingError';

  constructor(operation: string, errno: number, cause?: unknown) {
    super(operation, errno, { cause, advice: 'run as root, or give the process CAP_NET_ADMIN' });
  }
}

/** The kernel has no conntrack, or no netlink door to it. */
export class ConntrackMissingError extends SystemError {
  override readonly name = 'ConntrackMissingError';

  constructor(operation: string, errno: number, cause?: unknown) {
    super(operation, errno, { cause, advice: 'this kernel lacks it: modprobe nf_conntrack_netlink' });
  }
}

/** Says with a typed error why the conntrack table cannot be reached, in the words of what was tried. */
export function explainNoAccess(operation: string, errno: number, cause?: unknown): SystemError {
  if (errno === EPERM) return new NetAdminMissingError(operation, errno, cause);
  if (errno === EPROTONOSUPPORT || errno === EINVAL)
    return new ConntrackMissingError(operation, errno, cause);
  return new SystemError(operation, errno, { cause });
}
