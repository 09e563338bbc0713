import { close, connect, pinnedBytes, SOCK_CLOEXEC, SOCK_DGRAM, send, socket } from './libc.js';

const AF_UNIX = 1; // linux/socket.h
const PATH_MAX_BYTES = 107; // sun_path, linux/un.h

/**
 * Tells the service manager a state such as `READY=1` over the socket it named in NOTIFY_SOCKET (sd_notify(3)).
 * False when the path is no such socket; a daemon that cannot say it is ready still works.
 */
export function notifySystemd(path: string, state: string): boolean {
  const name = new TextEncoder().encode(path.replace(/^@/, '\0'));
  if (name.length === 0 || name.length > PATH_MAX_BYTES) return false;
  const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const address = pinnedBytes(2 + name.length);
  address[0] = AF_UNIX;
  address.set(name, 2);
  const text = new TextEncoder().encode(state);
  const data = pinnedBytes(text.length);
  data.set(text);
  const isSent = connect(fd, address, address.length) === 0 && send(fd, data, data.length, 0) === data.length;
  close(fd);
  return isSent;
}
