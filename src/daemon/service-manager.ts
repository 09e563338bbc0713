import { execFile } from 'node:child_process';

/**
 * Tells systemd (`READY=1`, `STOPPING=1`, `STATUS=...`); does nothing without it. By systemd's own command, since
 * node:dgram has no UNIX sockets; the unit therefore says NotifyAccess=all. Never throws: a missing command only
 * makes systemd wait.
 */
export function tellServiceManager(...assignments: string[]): void {
  if (process.env.NOTIFY_SOCKET === undefined) return;
  execFile('systemd-notify', assignments, () => {});
}
