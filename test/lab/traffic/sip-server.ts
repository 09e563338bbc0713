/** The server outside: registrar, and the other end of each call. It judges nothing but what the firewall rewrote. */
import { createSocket, type Socket } from 'node:dgram';
import { createServer } from 'node:net';
import { Conversation } from './conversation.js';
import { INSIDE4, type Kind, OUTSIDE4, SHARED4 } from './kinds.js';
import { callPort, mediaPort, SipMedia } from './sip-media.js';
import { encodeResponse, encodeSdp, encodeSip, SipCutter, SipMessage } from './sip-message.js';

const AGAIN_MS = 300;
const AUDIO_MS = 100;

type Reply = (text: string) => void;
interface End {
  readonly address: string;
  readonly port: number;
}

/** One phone, as the server sees it. */
class ServerCall extends Conversation {
  readonly #media: SipMedia;
  /** Where the phone wants its audio, and whether this is the time to send any. */
  #audioTo: End | undefined;
  #isSending = false;
  #audioAtMs = 0;
  #hasHeard = false;
  /** Where the phone wants to be called; the socket that calls it, and what it says until it is answered. */
  #contact: End | undefined;
  #caller: Socket | undefined;
  #call: { method: string; text: string } | undefined;
  #callAtMs = 0;
  #calls = 0;

  constructor(kind: Kind, number: number) {
    super(kind, number, false);
    this.#media = new SipMedia(
      mediaPort(kind, number),
      (text, from) => this.#hear(text, from),
      (what) => this.lose(what),
    );
  }

  take(message: SipMessage, reply: Reply): void {
    const { method } = message;
    const contact = `<sip:server@${OUTSIDE4}:${this.kind.port}>`;
    if (!this.#isTranslated(message)) return;
    if (method === 'INVITE') {
      this.#audioTo = message.media;
      if (this.#audioTo?.address !== SHARED4) this.lose(`audio is wanted at ${this.#audioTo?.address}`);
      reply(encodeResponse(message, [['Contact', contact]], encodeSdp(OUTSIDE4, this.#media.port)));
      if (this.kind.play === 'sip-media') this.#isSending = true;
    } else if (method === 'REGISTER') {
      this.#contact = message.contact;
      reply(
        encodeResponse(
          message,
          ['Contact', 'Expires'].map((name) => [name, message.header(name)]),
        ),
      );
    } else if (method === 'BYE') {
      this.#isSending = false;
      reply(encodeResponse(message, []));
    }
  }

  /** Now what was announced is used. */
  override begin(now: number): void {
    this.#hasHeard = false;
    if (this.kind.play !== 'sip-registration') this.#isSending = true;
    else if (this.#contact !== undefined) {
      this.#caller?.close();
      this.#caller = createSocket('udp4');
      this.#caller.on('message', (message) => this.#answered(new SipMessage(message.toString('latin1'))));
      this.#caller.bind(0, OUTSIDE4, () => this.#ask('INVITE'));
      this.#callAtMs = now;
    }
  }

  override tick(now: number): void {
    if (this.#isSending && now >= this.#audioAtMs && this.#audioTo !== undefined) {
      this.#audioAtMs = now + AUDIO_MS;
      const what = this.#hasHeard ? 'heard' : 'echo';
      this.#media.send(`${this.kind.name} ${this.number} ${what}`, this.#audioTo);
    }
    if (this.#call !== undefined && now >= this.#callAtMs) {
      this.#callAtMs = now + AGAIN_MS;
      if (this.#contact) this.#caller?.send(this.#call.text, this.#contact.port, this.#contact.address);
    }
  }

  #isTranslated({ text }: SipMessage): boolean {
    const isTranslated = !text.includes(INSIDE4);
    if (!isTranslated) this.lose(`was not translated: ${text}`);
    return isTranslated;
  }

  #hear(text: string, from: End): void {
    if (from.address !== this.#audioTo?.address || from.port !== this.#audioTo.port) {
      this.lose(`heard "${text.slice(0, 60)}" from ${from.address}:${from.port}`);
    } else this.#hasHeard = true;
  }

  /** Calls the phone from a port that it has never heard of. */
  #ask(method: string): void {
    if (this.#caller === undefined) return;
    if (method === 'INVITE') this.#calls++;
    const audio = encodeSdp(OUTSIDE4, callPort(this.number, this.#calls));
    this.#call = { method, text: this.#encode(method, method === 'INVITE' ? audio : '') };
    this.#callAtMs = 0;
    this.tick(performance.now());
  }

  #encode(method: string, body: string): string {
    const own = `${OUTSIDE4}:${this.#caller?.address().port}`;
    return encodeSip(
      `${method} sip:${this.number}@${this.#contact?.address}:${this.#contact?.port} SIP/2.0`,
      [
        ['Via', `SIP/2.0/UDP ${own};branch=z9hG4bKs${this.number}c${this.#calls}`],
        ['From', '<sip:server@phones.test>;tag=server'],
        ['To', `<sip:${this.number}@phones.test>`],
        ['Call-ID', `${this.kind.name}-${this.number}-in-${this.#calls}`],
        ['CSeq', `${this.#calls} ${method}`],
        ['Contact', `<sip:server@${own}>`],
      ],
      body,
    );
  }

  #answered(message: SipMessage): void {
    if (message.status !== 200 || this.#call === undefined || !this.#isTranslated(message)) return;
    if (message.header('CSeq') !== `${this.#calls} ${this.#call.method}`) return;
    const { method } = this.#call;
    this.#call = undefined;
    if (method !== 'INVITE') return;
    const { media, contact } = message;
    if (media?.address !== SHARED4 || contact?.address !== SHARED4) {
      this.lose(`the answer to a call names ${media?.address} and ${contact?.address}`);
    } else this.#ask('BYE');
  }
}

/** Serves the phones of a SIP kind and hands each to `take`. Resolves when it listens. */
export function listenSip(kind: Kind, take: (conversation: Conversation) => void): Promise<void> {
  const known = new Map<number, ServerCall>();
  const route = (message: SipMessage, reply: Reply): void => {
    const number = Number(/sip:(\d+)@/.exec(message.header('From'))?.[1]);
    let call = known.get(number);
    if (call === undefined) {
      call = new ServerCall(kind, number);
      known.set(number, call);
      take(call);
    }
    call.take(message, reply);
  };
  return kind.protocol === 'tcp' ? listenTcp(kind, route) : listenUdp(kind, route);
}

function listenUdp(kind: Kind, route: (message: SipMessage, reply: Reply) => void): Promise<void> {
  const socket = createSocket('udp4');
  socket.on('message', (message, { address, port }) =>
    route(new SipMessage(message.toString('latin1')), (text) => socket.send(text, port, address)),
  );
  return new Promise((resolve) => {
    socket.bind(kind.port, () => resolve());
  });
}

function listenTcp(kind: Kind, route: (message: SipMessage, reply: Reply) => void): Promise<void> {
  const server = createServer({ noDelay: true }, (socket) => {
    const cutter = new SipCutter();
    // The phone tells.
    socket.on('error', () => undefined);
    socket.on('data', (piece) => {
      for (const message of cutter.take(piece)) route(message, (text) => socket.write(text));
    });
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port: kind.port, host: '0.0.0.0', backlog: 1024 }, () => resolve());
  });
}
