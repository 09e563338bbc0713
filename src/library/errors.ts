/** What can go wrong in a call of the library: one class a reason, each with operation, errno, its name, and cause. */
import { EBUSY, EEXIST, EINVAL, ENOENT, EPERM } from '../../native/libc.js';
import { SystemError } from '../../native/system-error.js';
import { explainNoAccess } from '../kernel/kernel-error.js';

const ENOMEM = 12; // asm-generic/errno-base.h, and the next two
const EINTR = 4;
const ENOSPC = 28;
const EBADF = 9;
const EOPNOTSUPP = 95; // asm-generic/errno.h

/** The flow is not in the table, or its master is not (ENOENT). */
export class FlowMissingError extends SystemError {
  override readonly name = 'FlowMissingError';
}

/** The table has a flow with one of these tuples, in either direction; or the expectation is there (EEXIST). */
export class FlowExistsError extends SystemError {
  override readonly name = 'FlowExistsError';
}

/** The kernel's table is full: raise net.netfilter.nf_conntrack_max (ENOMEM, ENOSPC). */
export class TableFullError extends SystemError {
  override readonly name = 'TableFullError';
}

/** The hash table was resized while it was listed: some flows may be missing from what came (EINTR). List again. */
export class ListInterruptedError extends SystemError {
  override readonly name = 'ListInterruptedError';

  constructor(operation: string) {
    super(operation, EINTR, { advice: 'the hash table was resized meanwhile: list again' });
  }
}

/** The kernel tells no events: net.netfilter.nf_conntrack_events is 0 (ENOTSUP). */
export class EventsDisabledError extends SystemError {
  override readonly name = 'EventsDisabledError';

  constructor() {
    super('listen to conntrack events', EOPNOTSUPP, {
      advice: 'sysctl net.netfilter.nf_conntrack_events=1 turns them on',
    });
  }
}

/** The Conntrack was closed (EBADF). */
export class ClosedError extends SystemError {
  override readonly name = 'ClosedError';

  constructor(operation: string) {
    super(operation, EBADF, { advice: 'this Conntrack was closed' });
  }
}

/** What the kernel means by an errno, for one verb. */
type Advice = Readonly<Record<number, string>>;

export const CREATE_ADVICE: Advice = {
  [EBUSY]: 'no flow can begin with this status: leave out EXPECTED and DYING',
  [ENOENT]: 'its master is not in the table',
  [EEXIST]: 'a flow with its tuple, or the tuple of its answers, is there',
  [EOPNOTSUPP]: 'the kernel has no such helper for this protocol: modprobe nf_conntrack_NAME',
  [EINVAL]: 'a value is missing or impossible',
};
export const UPDATE_ADVICE: Advice = {
  [EBUSY]: 'status bits can be set, never cleared',
  [EOPNOTSUPP]: 'this cannot be changed: delete the flow and create it anew',
};
export const FIXED_ADVICE: Advice = {
  [EPERM]: 'its timeout is fixed (FIXED_TIMEOUT): leave timeout out',
};
export const EXPECT_ADVICE: Advice = {
  [ENOENT]: 'its master is not in the table',
  [EOPNOTSUPP]: 'its master has no helper: a rule `ct helper set` gives new flows one',
  [EINVAL]: 'the class is above what the helper of its master has, or a value is impossible',
};

/** The error for a request that the kernel refused; errno -1 means that its answer was lost. */
export function refusal(operation: string, errno: number, advice: Advice = {}): SystemError {
  const options = advice[errno] === undefined ? {} : { advice: advice[errno] };
  if (errno === ENOENT) return new FlowMissingError(operation, errno, options);
  if (errno === EEXIST) return new FlowExistsError(operation, errno, options);
  if (errno === ENOMEM || errno === ENOSPC) {
    const full = 'the table is full: sysctl net.netfilter.nf_conntrack_max';
    return new TableFullError(operation, errno, { advice: full });
  }
  if (errno < 0) return new SystemError(operation, EINTR, { advice: 'the answer was lost: ask with get' });
  if (errno === EINVAL || advice[errno] !== undefined) return new SystemError(operation, errno, options);
  return explainNoAccess(operation, errno);
}
