/** The audio of a call: one side says something every so often, and the other says it back. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { Kind } from './kinds.js';

/** Each kind has this many ports of its own for audio: an even one for the stream, the next for its control. */
const PORTS_PER_KIND = 200;
const FIRST_PORT = 20_000;
/** Ports of one call to a registered phone, for all phones together. */
const PORTS_PER_CALL = 100;
const FIRST_CALL_PORT = 10_000;
/** Calls of one phone that differ in their port: more than any test makes in three minutes. */
const CALLS_APART = 100;
/** Where no signalling comes, for the rules. */
export const MEDIA_PORTS = `${FIRST_CALL_PORT}-29999`;
const FIRST_KIND_PORT = 5001;

/** The port of one call's audio, on either side. Below those that the system gives away. */
export const mediaPort = (kind: Kind, number: number): number =>
  FIRST_PORT + (kind.port - FIRST_KIND_PORT) * PORTS_PER_KIND + 2 * number;

/**
 * The port that a call to a registered phone names on both sides; nothing comes to it. Each call has another one, as
 * real calls have: where an answer was said again, and came behind the BYE, the kernel goes on expecting its audio, and
 * its helper then drops what names the same port in another call's flow, for three minutes. On a crowded machine that is
 * so of most calls: with twenty ports a phone the 21st call of a series was answered for nothing.
 */
export const callPort = (number: number, call: number): number =>
  FIRST_CALL_PORT + (call % CALLS_APART) * PORTS_PER_CALL + 2 * number;

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
