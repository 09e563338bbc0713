/**
 * A SIP phone inside, behind address translation. What it has announced by SIP, audio or where it can be called, is
 * used by the server outside in the next round, and by packets that nothing but the kernel's expectation lets in; only
 * then it is announced again. Over UDP a request is said again until it is answered, as SIP does.
 */
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { connect, type Socket as TcpSocket } from 'node:net';
import { Conversation } from './conversation.js';
import { INSIDE4, type Kind, SHARED4 } from './kinds.js';
import { mediaPort, SipMedia } from './sip-media.js';
import { encodeResponse, encodeSdp, encodeSip, SipCutter, SipMessage } from './sip-message.js';

const AGAIN_MS = 300;
const REGISTERED_S = 3600;

export class SipPhone extends Conversation {
  readonly #media: SipMedia;
  readonly #transport: 'UDP' | 'TCP';
  #tcp: TcpSocket | undefined;
  #udp: UdpSocket | undefined;
  #begunMs = 0;
  #cseq = 0;
  /** The request that waits for its answer, as text, its method, and when it is said again. */
  #request = '';
  #method = '';
  #againAtMs = Number.POSITIVE_INFINITY;
  #heard = '';

  constructor(kind: Kind, number: number) {
    super(kind, number, true);
    this.#transport = kind.protocol === 'tcp' ? 'TCP' : 'UDP';
    this.#media = new SipMedia(
      mediaPort(kind, number),
      (text, from) => this.#hear(text, from),
      (what) => this.lose(what),
    );
    if (kind.protocol === 'tcp') this.#connect();
    else this.#bind();
  }

  override begin(now: number): void {
    this.#begunMs = now;
    this.#heard = '';
    if (this.kind.play === 'sip-media') this.#ask('INVITE');
  }

  override tick(now: number): void {
    if (now < this.#againAtMs) return;
    this.#againAtMs = now + AGAIN_MS;
    this.#send(this.#request);
  }

  override get waitsFor(): string {
    if (this.#method !== '') return `the answer to ${this.#method}`;
    return this.#heard === '' ? 'what it has announced to be used' : `more than "${this.#heard}"`;
  }

  #connect(): void {
    const cutter = new SipCutter();
    const socket = connect({ host: this.kind.target, port: this.kind.port, noDelay: true });
    this.#tcp = socket;
    socket.on('connect', () => this.#start());
    socket.on('error', (error: NodeJS.ErrnoException) => this.lose(`control: ${error.code}`));
    socket.on('close', () => this.lose('control closed'));
    socket.on('data', (piece) => {
      for (const message of cutter.take(piece)) this.#take(message, (text) => socket.write(text));
    });
  }

  #bind(): void {
    const socket = createSocket('udp4');
    this.#udp = socket;
    socket.on('error', (error: NodeJS.ErrnoException) => this.lose(`control: ${error.code}`));
    socket.on('message', (message, { address, port }) =>
      this.#take(new SipMessage(message.toString('latin1')), (text) => socket.send(text, port, address)),
    );
    socket.bind(0, INSIDE4, () => this.#start());
  }

  #start(): void {
    this.#ask(this.kind.play === 'sip-registration' ? 'REGISTER' : 'INVITE');
  }

  get #ownPort(): number {
    return this.#tcp?.localPort ?? this.#udp?.address().port ?? 0;
  }

  #send(text: string): void {
    if (this.#tcp !== undefined) this.#tcp.write(text);
    else this.#udp?.send(text, this.kind.port, this.kind.target);
  }

  #ask(method: string): void {
    this.#method = method;
    this.#cseq++;
    this.#request = this.#encode(method, method === 'INVITE' ? encodeSdp(INSIDE4, this.#media.port) : '');
    this.#send(this.#request);
    this.#againAtMs = performance.now() + (this.#transport === 'UDP' ? AGAIN_MS : Number.POSITIVE_INFINITY);
  }

  #encode(method: string, body = ''): string {
    const { kind, number } = this;
    const own = `${INSIDE4}:${this.#ownPort}`;
    return encodeSip(
      `${method} sip:server@${kind.target}:${kind.port} SIP/2.0`,
      [
        ['Via', `SIP/2.0/${this.#transport} ${own};branch=z9hG4bK${number}c${this.#cseq}`],
        ['From', `<sip:${number}@phones.test>;tag=${number}`],
        ['To', '<sip:server@phones.test>'],
        ['Call-ID', `${kind.name}-${number}`],
        ['CSeq', `${this.#cseq} ${method}`],
        ['Contact', `<sip:${number}@${own}>`],
        ...(method === 'REGISTER' ? ([['Expires', String(REGISTERED_S)]] as const) : []),
      ],
      body,
    );
  }

  #take(message: SipMessage, reply: (text: string) => void): void {
    if (message.text.includes(SHARED4)) this.lose(`was not translated: ${message.text}`);
    else if (message.method === 'INVITE') reply(this.#accept(message));
    else if (message.method === 'BYE') this.#hangUp(message, reply);
    else if (message.status === 200 && message.header('CSeq') === `${this.#cseq} ${this.#method}`)
      this.#answered();
  }

  /** A call of the server's, which found this phone by what it had registered. */
  #accept(invite: SipMessage): string {
    this.#heard = 'INVITE';
    const contact = `<sip:${this.number}@${INSIDE4}:${this.#ownPort}>`;
    return encodeResponse(invite, [['Contact', contact]], encodeSdp(INSIDE4, invite.media?.port ?? 0));
  }

  #hangUp(bye: SipMessage, reply: (text: string) => void): void {
    reply(encodeResponse(bye, []));
    // Said again, because the answer was lost.
    if (this.#heard !== 'INVITE') return;
    this.#heard = 'BYE';
    this.#ask('REGISTER');
  }

  #answered(): void {
    const method = this.#method;
    this.#method = '';
    this.#againAtMs = Number.POSITIVE_INFINITY;
    if (method === 'INVITE') this.#send(this.#encode('ACK'));
    if (method === 'BYE') this.#ask('INVITE');
    else if (this.kind.play !== 'sip-media') {
      const now = performance.now();
      this.talked(this.#begunMs, now, this.#begunMs);
    }
  }

  /** Audio: `echo N`, or `heard N` when the server has got something back. */
  #hear(text: string, from: { address: string; port: number }): void {
    const [name, number, what] = text.split(' ');
    if (name !== this.kind.name || Number(number) !== this.number) {
      this.lose(`heard "${text.slice(0, 60)}", which is another call's`);
      return;
    }
    this.#media.send(text, from);
    // A dialog that is being renewed has not talked, whatever is heard.
    if (this.#method !== '' || what !== 'heard') return;
    this.#heard = text;
    const now = performance.now();
    if (this.kind.play === 'sip-media') this.talked(now, now);
    // What comes late, after the call was ended and the next one announced, is of the round before.
    else if (!this.hasTalkedSince(this.#begunMs)) this.#ask('BYE');
  }
}
