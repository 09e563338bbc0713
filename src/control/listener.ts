import { createServer, type Server, type Socket } from 'node:net';
import { CONTROL_IDLE_MS } from '../limits.js';

/** What every HTTP/2 client says first (RFC 9113, section 3.4). */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

export interface ListenerPorts {
  /** Takes a connection that began as HTTP/2 does; nothing of it has been consumed. */
  onConnection(socket: Socket): void;
  count(reason: string): void;
}

/**
 * The UNIX socket in front of the gRPC library, which keeps silent about what is not HTTP/2: such connections are
 * counted here and closed at their first wrong byte.
 */
export class ControlListener {
  readonly #server: Server;
  readonly #waiting = new Set<Socket>();
  readonly #ports: ListenerPorts;

  constructor(ports: ListenerPorts) {
    this.#ports = ports;
    this.#server = createServer((socket) => this.#admit(socket));
  }

  /** Rejects with the errno of bind or listen. The socket file gets its mode from the umask of this very call. */
  listen(path: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(path, () => {
        this.#server.off('error', reject);
        // Out of descriptors, say: the connection is lost, the socket is not.
        this.#server.on('error', () => this.#ports.count('control.accept'));
        resolve();
      });
    });
  }

  /** Takes no more connections and drops those that have not said what they are. */
  close(): void {
    for (const socket of this.#waiting) socket.destroy();
    this.#server.close();
  }

  #admit(socket: Socket): void {
    this.#waiting.add(socket);
    let head = Buffer.alloc(0);
    const leave = (): void => {
      this.#waiting.delete(socket);
      socket.off('readable', look);
      socket.setTimeout(0);
    };
    const refuse = (reason: string): void => {
      if (!this.#waiting.has(socket)) return;
      leave();
      // Who only asks whether somebody listens, as the command line does, says nothing.
      if (head.length > 0) this.#ports.count(reason);
      socket.destroy();
    };
    const look = (): void => {
      for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) {
        head = Buffer.concat([head, chunk]);
      }
      const length = Math.min(head.length, PREFACE.length);
      if (PREFACE.compare(head, 0, length, 0, length) !== 0) refuse('control.not-http2');
      else if (length === PREFACE.length) {
        leave();
        socket.unshift(head);
        this.#ports.onConnection(socket);
      }
    };
    socket.on('error', () => refuse('control.connection-error'));
    socket.once('end', () => refuse('control.not-http2'));
    socket.once('close', leave);
    socket.setTimeout(CONTROL_IDLE_MS, () => refuse('control.not-http2'));
    socket.on('readable', look);
  }
}
