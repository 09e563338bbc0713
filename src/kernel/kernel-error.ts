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
