import { lstatSync, unlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { SOCKET_PATH_MAX_BYTES } from '../limits.js';
import { ControlError } from './backend.js';

/** Errno name of a connection attempt to the UNIX socket at `path`; undefined when somebody answers. */
export function probeSocket(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'EIO'));
  });
}

/**
 * Makes `path` free to listen on: a socket that nobody serves any more is removed. Throws ControlError if somebody
 * answers there, if it is no socket, or if the path is too long for one.
 */
export async function claimSocketPath(path: string): Promise<void> {
  if (Buffer.byteLength(path) > SOCKET_PATH_MAX_BYTES) {
    throw new ControlError(
      'failed',
      `control socket path is longer than ${SOCKET_PATH_MAX_BYTES} bytes, choose a shorter control.socket: ${path}`,
    );
  }
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (!found) return;
  if (!found.isSocket()) {
    throw new ControlError('failed', `${path} is in the way and no socket: remove it, or choose another`);
  }
  const errno = await probeSocket(path);
  if (errno === undefined) {
    throw new ControlError(
      'failed',
      `another daemon answers on ${path}: stop it first, or choose another control.socket`,
    );
  }
  if (errno !== 'ECONNREFUSED' && errno !== 'ENOENT') {
    throw new ControlError(
      'failed',
      `cannot tell who serves ${path} (${errno}): run as the user that owns it`,
    );
  }
  if (errno === 'ECONNREFUSED') unlinkSync(path);
}
