/** SIP as far as the kernel's helper reads it: requests, responses, and the lines of SDP that announce audio. */

export type SipHeaders = readonly (readonly [name: string, value: string])[];

/** Headers that a response takes over from its request. */
const COPIED = ['Via', 'From', 'To', 'Call-ID', 'CSeq'];
const HEAD_END = '\r\n\r\n';

/** A message that has come. */
export class SipMessage {
  constructor(readonly text: string) {}

  /** The method of a request, or undefined. */
  get method(): string | undefined {
    return /^([A-Z]+) sip:/.exec(this.text)?.[1];
  }

  /** The number of a response, or undefined. */
  get status(): number | undefined {
    const status = /^SIP\/2\.0 (\d+) /.exec(this.text)?.[1];
    return status === undefined ? undefined : Number(status);
  }

  header(name: string): string {
    return new RegExp(`^${name}: (.*)\r$`, 'm').exec(this.text)?.[1] ?? '';
  }

  /** Where the sender wants to be called. */
  get contact(): { address: string; port: number } | undefined {
    return endOf(/sip:\w+@([\d.]+):(\d+)/.exec(this.header('Contact')));
  }

  /** Where it wants its audio. */
  get media(): { address: string; port: number } | undefined {
    return endOf(/^c=IN IP4 ([\d.]+)\r\n(?:.*\r\n)*?m=audio (\d+) /m.exec(this.text));
  }
}

function endOf(match: RegExpExecArray | null): { address: string; port: number } | undefined {
  return match === null ? undefined : { address: match[1], port: Number(match[2]) };
}

export function encodeSip(start: string, headers: SipHeaders, body = ''): string {
  const isSdp = body !== '';
  const all: SipHeaders = [
    ...headers,
    ...(isSdp ? ([['Content-Type', 'application/sdp']] as const) : []),
    ['Content-Length', String(body.length)],
  ];
  return `${start}\r\n${all.map(([name, value]) => `${name}: ${value}`).join('\r\n')}${HEAD_END}${body}`;
}

export function encodeResponse(request: SipMessage, headers: SipHeaders, body = ''): string {
  const copied = COPIED.map((name) => [name, request.header(name)] as const);
  return encodeSip('SIP/2.0 200 OK', [...copied, ...headers], body);
}

export function encodeSdp(address: string, port: number): string {
  const lines = ['v=0', `o=- 1 1 IN IP4 ${address}`, 's=-', `c=IN IP4 ${address}`, 't=0 0'];
  return [...lines, `m=audio ${port} RTP/AVP 0`, ''].join('\r\n');
}

/** Cuts a TCP stream into messages, by their Content-Length. */
export class SipCutter {
  #text = '';

  /** The messages that are whole with this piece. */
  take(piece: Buffer): SipMessage[] {
    this.#text += piece.toString('latin1');
    const messages: SipMessage[] = [];
    for (;;) {
      const head = this.#text.indexOf(HEAD_END);
      if (head < 0) return messages;
      const length = Number(/^Content-Length: (\d+)/m.exec(this.#text)?.[1] ?? 0);
      const end = head + HEAD_END.length + length;
      if (this.#text.length < end) return messages;
      messages.push(new SipMessage(this.#text.slice(0, end)));
      this.#text = this.#text.slice(end);
    }
  }
}
