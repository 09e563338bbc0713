/**
 * The ends of FTP sessions through the kernel's helper. A data connection is announced (PORT or PASV, EPRT or EPSV), and made only
 * when the next round begins, so that a failover stands between the two; every line on the control connection shows
 * that its sequence numbers are adjusted.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { Conversation } from './conversation.js';
import { announcementOf, type Door, doorOf, openingOf, seenOf } from './ftp-address.js';
import { FTP_INSIDE4, type Kind, usesIpv6 } from './kinds.js';
import { patternAt, wrongByte } from './pattern.js';

const FILE_BYTES = 20_000;
/** What a data connection without control connection says, and how often. */
const DRIP_BYTES = 1000;
const DRIP_MS = 100;

const isPassive = ({ play }: Kind): boolean => play.endsWith('passive');
/** The data run on without the control connection. */
const isData = ({ play }: Kind): boolean => play.startsWith('ftp-data');
const anyAddress = (kind: Kind): string => (usesIpv6(kind) ? '::' : '0.0.0.0');

/** The client. One cycle: RETR and its data, NOOP, then the announcement for the next one. */
class Session extends Conversation {
  readonly #control: Socket;
  #begunMs = 0;
  #data: Server | undefined;
  /** Where the server told to connect to. */
  #door: Door | undefined;
  /** The command that waits for its answer. */
  #said = '';
  #isAnnounced = false;
  #position = 0;
  #isFileWhole = false;
  #isControlClosed = false;

  constructor(kind: Kind, number: number) {
    super(kind, number, true);
    const own = kind.opener === 'inside' && !usesIpv6(kind) ? { localAddress: FTP_INSIDE4 } : {};
    this.#control = connect({ host: kind.target, port: kind.port, noDelay: true, ...own });
    this.#control.on('error', (error: NodeJS.ErrnoException) => this.lose(`control: ${error.code}`));
    this.#control.on('close', () => {
      if (!this.#isControlClosed) this.lose(`control closed after "${this.#said}"`);
    });
    createInterface({ input: this.#control }).on('line', (line) => this.#answered(line));
  }

  override begin(now: number): void {
    this.#begunMs = now;
    if (this.#isAnnounced) this.#retrieve();
  }

  override get waitsFor(): string {
    return `the answer to "${this.#said}", ${this.#position} bytes of the file came`;
  }

  #say(line: string): void {
    this.#said = line;
    this.#control.write(`${line}\r\n`);
  }

  #answered(line: string): void {
    const command = this.#said.split(' ')[0];
    const [code] = line.split(' ');
    if (command === '' && code === '220') this.#say(`USER ${this.number}`);
    else if (command === 'USER' && code === '230') this.#announce();
    else if (line === `200 ${seenOf(this.kind)} ${this.#listening()}`) this.#announced();
    else if (line.startsWith('227 ') || line.startsWith('229 ')) {
      this.#door = doorOf(this.kind, line);
      if (this.#door?.host === this.kind.target) this.#announced();
      else this.lose(`it was told to connect by "${line}"`);
    } else if (command === 'RETR' && code === '226') this.#fileEnded();
    else if (command === 'NOOP' && line === `200 ${this.#said}`) this.#announce();
    else this.lose(`"${this.#said}" was answered "${line}"`);
  }

  #listening(): number {
    const address = this.#data?.address();
    return typeof address === 'object' ? (address?.port ?? 0) : 0;
  }

  #announce(): void {
    if (isPassive(this.kind)) {
      this.#say(usesIpv6(this.kind) ? 'EPSV' : 'PASV');
      return;
    }
    this.#data?.close();
    this.#data = createServer({ allowHalfOpen: true }, (socket) => this.#take(socket));
    const announce = () => this.#say(announcementOf(this.kind, this.#listening()));
    this.#data.listen(0, anyAddress(this.kind), announce);
  }

  /** The cycle is whole: what was announced before was used, and the next one is announced. */
  #announced(): void {
    this.#isAnnounced = true;
    const now = performance.now();
    if (isData(this.kind)) this.#retrieve();
    else if (!this.isMade || this.#isFileWhole) this.talked(this.#begunMs, now, this.#begunMs);
    this.#isFileWhole = false;
  }

  #retrieve(): void {
    this.#isAnnounced = false;
    this.#position = 0;
    this.#say(isData(this.kind) ? 'DRIP' : 'RETR file');
    if (this.#door !== undefined) this.#take(connect({ ...this.#door, allowHalfOpen: true }));
    this.#door = undefined;
  }

  /** The data connection: every byte is checked. */
  #take(socket: Socket): void {
    this.#data?.close();
    socket.on('error', (error: NodeJS.ErrnoException) => this.lose(`data: ${error.code}`));
    socket.on('data', (piece) => {
      const wrong = wrongByte(this.#position, piece);
      if (wrong >= 0) this.lose(`byte ${wrong} of the data is wrong`);
      this.#position += piece.length;
      if (!isData(this.kind)) return;
      const now = performance.now();
      this.talked(now, now);
      // The data go on without it.
      this.#isControlClosed = true;
      this.#control.end();
    });
    socket.on('end', () => {
      if (isData(this.kind)) this.lose('the data ended');
      socket.end();
    });
  }

  #fileEnded(): void {
    this.#isFileWhole = true;
    if (this.#position === FILE_BYTES) this.#say(`NOOP ${this.number} ${'.'.repeat(this.number % 40)}`);
    else this.lose(`${this.#position} of ${FILE_BYTES} bytes of the file came`);
  }
}

/** The server's side of one session. It judges nothing; what goes wrong it tells the client. */
class ServerSession extends Conversation {
  #target: Door | undefined;
  #door: Server | undefined;
  #drip: Socket | undefined;
  #position = 0;
  #dripMs = 0;

  constructor(
    kind: Kind,
    number: number,
    private readonly control: Socket,
  ) {
    super(kind, number, false);
  }

  obey(line: string): void {
    const [command] = line.split(' ');
    if (command === 'NOOP') this.#reply(`200 ${line}`);
    else if (command === 'PORT' || command === 'EPRT') {
      this.#target = doorOf(this.kind, line);
      this.#reply(`200 ${this.#target?.host} ${this.#target?.port}`);
    } else if (command === 'PASV' || command === 'EPSV') this.#openDoor();
    else if (command === 'RETR' && this.#target) this.#send(connect(this.#target));
    else if (command === 'DRIP' && this.#target) this.#dripInto(connect(this.#target));
  }

  #dripInto(socket: Socket): void {
    this.#drip = socket;
    socket.on('error', (error: NodeJS.ErrnoException) => this.lose(`data: ${error.code}`));
    socket.on('close', () => this.lose('data closed'));
  }

  override tick(now: number): void {
    if (this.#drip === undefined || now < this.#dripMs) return;
    this.#dripMs = now + DRIP_MS;
    this.#drip.write(patternAt(this.#position, DRIP_BYTES));
    this.#position += DRIP_BYTES;
  }

  #reply(line: string): void {
    this.control.write(`${line}\r\n`);
  }

  #openDoor(): void {
    this.#door?.close();
    const door = createServer({ allowHalfOpen: true }, (socket) => {
      door.close();
      if (isData(this.kind)) this.#dripInto(socket);
      else this.#send(socket);
    });
    this.#door = door;
    door.listen(0, anyAddress(this.kind), () => {
      const address = door.address();
      const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
      this.#reply(openingOf(this.kind, port));
    });
  }

  #send(socket: Socket): void {
    socket.on('error', (error: NodeJS.ErrnoException) => this.#reply(`425 ${error.code}`));
    socket.on('end', () => this.#reply('226 done'));
    socket.resume();
    socket.end(patternAt(0, FILE_BYTES));
  }
}

/** Opens one FTP session. */
export function openFtp(kind: Kind, number: number): Conversation {
  return new Session(kind, number);
}

/** Serves the sessions of an FTP kind and hands each to `take`. Resolves when it listens. */
export function listenFtp(kind: Kind, take: (conversation: Conversation) => void): Promise<void> {
  const server = createServer({ noDelay: true }, (control) => {
    let session: ServerSession | undefined;
    control.on('error', () => undefined);
    control.write('220 ready\r\n');
    createInterface({ input: control }).on('line', (line) => {
      if (session !== undefined) session.obey(line);
      else {
        session = new ServerSession(kind, Number(line.split(' ')[1]), control);
        take(session);
        control.write('230 welcome\r\n');
      }
    });
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port: kind.servicePort, host: anyAddress(kind), backlog: 1024 }, () => resolve());
  });
}
