/** The errno values that the kernel answers to ctnetlink requests with, and that a commit tells apart. */

// asm-generic/errno-base.h and errno.h; the same on every architecture that Node runs on under Linux.
export const EPERM = 1;
export const ENOENT = 2;
export const ENOMEM = 12;
export const EBUSY = 16;
export const EEXIST = 17;
export const EINVAL = 22;
export const EMFILE = 24;
export const ENOSPC = 28;
export const ERANGE = 34;
export const EOPNOTSUPP = 95;

/** What KernelBatch.errno holds when the answer was lost: the request may have been carried out or not. */
export const UNKNOWN = -1;
