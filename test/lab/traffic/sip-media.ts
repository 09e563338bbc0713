/** The audio of a call: one side says something every so often, and the other says it back. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { Kind } from './kinds.js';

/** Each kind has this many ports of its own for audio: an even one for the stream, the next for its control. */
const PORTS_PER_KIND = 200;
const FIRST_PORT = 20_000;
/** Where no signalling comes, for the rules. */
export const MEDIA_PORTS = `${FIRST_PORT}-29999`;
const FIRST_KIND_PORT = 5001;

/** The port of one call's audio, on either side. Below those that the system gives away. */
export const mediaPort = (kind: Kind, number: number): number =>
  FIRST_PORT + (kind.port - FIRST_KIND_PORT) * PORTS_PER_KIND + 2 * number;

/** Ports of one call to a registered phone, for all phones together, and how many calls of one phone differ in theirs. */
const PORTS_PER_CALL = 100;
const CALLS_APART = 20;

/**
 * The port that a call to a registered phone names on both sides; nothing comes to it. Each call has another one, as
 * real calls have: where an answer was said again, and came behind the BYE, the kernel goes on expecting its audio, and
 * its helper then drops what names the same port in another call's flow, for three minutes.
 */
export const callPort = (kind: Kind, number: number, call: number): number =>
  mediaPort(kind, number) + (call % CALLS_APART) * PORTS_PER_CALL;

/** One side's socket for audio. */
export class SipMedia {
  readonly #socket: Socket;

  constructor(
    readonly port: number,
    take: (text: string, from: RemoteInfo) => void,
    fail: (what: string) => void,
  ) {
    this.#socket = createSocket('udp4');
    this.#socket.on('error', (error: NodeJS.ErrnoException) => fail(`media: ${error.code}`));
    this.#socket.on('message', (message, from) => take(message.toString('latin1'), from));
    this.#socket.bind(port);
  }

  send(text: string, to: { readonly address: string; readonly port: number }): void {
    this.#socket.send(text, to.port, to.address);
  }
}
