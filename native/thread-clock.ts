import { CLOCK_THREAD_CPUTIME_ID, clockGettime } from './libc.js';

const SECONDS_TO_MS = 1e3;
const NANOSECONDS_TO_MS = 1e-6;

/** struct timespec on 64 bits: seconds and nanoseconds, 64 bits each. */
const time = new BigInt64Array(2);
const bytes = new Uint8Array(time.buffer);

/**
 * CPU that the calling thread has used since it began, milliseconds (man clock_gettime, CLOCK_THREAD_CPUTIME_ID). Unlike
 * process.cpuUsage it leaves out the threads that collect garbage and those of the pool.
 */
export function threadCpuMs(): number {
  clockGettime(CLOCK_THREAD_CPUTIME_ID, bytes);
  return Number(time[0]) * SECONDS_TO_MS + Number(time[1]) * NANOSECONDS_TO_MS;
}
