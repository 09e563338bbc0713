import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ControlClient } from '../../../src/control/client.js';
import type { FlowsRequest, Role } from '../../../src/control/messages.js';
import { ControlServer } from '../../../src/control/server.js';
import { CONTROL_REQUEST_MAX_BYTES } from '../../../src/limits.js';
import { FakeBackend, sampleStatus } from './fake-backend.js';

let folder: string;
let path: string;
let backend: FakeBackend;
let counted: Map<string, number>;
const open: { close(): void }[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ct-control-'));
  path = join(folder, 'control.sock');
  backend = new FakeBackend();
  counted = new Map();
});

afterEach(() => {
  for (const closable of open.splice(0).reverse()) closable.close();
  rmSync(folder, { recursive: true, force: true });
});

async function serve(): Promise<ControlServer> {
  const count = (reason: string) => void counted.set(reason, (counted.get(reason) ?? 0) + 1);
  const server = await ControlServer.listen(path, backend, { count });
  open.push(server);
  return server;
}

async function client(): Promise<ControlClient> {
  const made = await ControlClient.connect(path);
  open.push(made);
  return made;
}

async function until(isTrue: () => boolean): Promise<void> {
  const deadline = Date.now() + 5000;
  while (!isTrue()) {
    if (Date.now() > deadline) throw new Error('not within 5 s');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe('calls over the socket', () => {
  test('status arrives with every field as the backend said it', async () => {
    await serve();
    expect(await (await client()).status()).toEqual(sampleStatus());
  });

  test('a status without a promote, peers or links says so with null and empty lists', async () => {
    Object.assign(backend.report, { lastPromote: null, peers: [], replicas: [], links: [], counters: {} });
    await serve();
    const status = await (await client()).status();
    expect(status).toEqual({ ...sampleStatus(), ...backend.report });
  });

  test('a long call streams progress, each phase at least once, and ends with the report', async () => {
    await serve();
    const seen: string[] = [];
    const report = await (await client()).failover('primary', (p) =>
      seen.push(`${p.phase} ${p.done}/${p.total}`),
    );
    expect(seen).toEqual(['dump 1/0', 'create 500/20000']);
    expect(report).toEqual(backend.failoverReport);
    expect(backend.asked).toEqual(['failover primary']);
  });

  test('progress that comes faster than an operator reads is thinned out', async () => {
    backend.during = async (progress) => {
      for (let done = 0; done < 10_000; done++) progress({ phase: 'create', done, total: 10_000 });
    };
    await serve();
    let messages = 0;
    await (await client()).commit(() => messages++);
    expect(messages).toBeGreaterThan(0);
    expect(messages).toBeLessThan(20);
  });

  test('the short calls reach the backend with their arguments', async () => {
    await serve();
    const it = await client();
    expect(await it.resync('request', () => undefined)).toEqual({ message: 'request done', exitCode: 0 });
    expect(await it.flush('external')).toEqual({ flows: 12, message: 'external flushed' });
    expect(await it.verify(() => {})).toEqual(backend.verifyReport);
    await it.setLogLevel('debug');
    expect(await it.reload()).toEqual({ changed: ['log'], needsRestart: ['links'] });
    const request: FlowsRequest = {
      table: 'external',
      node: 'fw2',
      filter: { protocol: 'tcp', sourcePort: 0, source: '10.0.0.0/8', status: ['ASSURED'] },
    } as const;
    expect(await it.countFlows(request)).toBe(20_000);
    expect(backend.asked).toEqual([
      'resync request',
      'flush external',
      'verify',
      'level debug',
      'reload',
      request,
    ]);
  });

  test('a word that is not in the list is refused before it reaches the backend', async () => {
    await serve();
    const wrong = (await client()).failover('master' as Role, () => {});
    await expect(wrong).rejects.toMatchObject({
      kind: 'invalid',
      message: 'role "master" is not one of primary, backup, fault',
    });
    expect(backend.asked).toEqual([]);
  });

  test('a refusal keeps its kind and text; an unforeseen error is counted as the daemon’s', async () => {
    await serve();
    const it = await client();
    backend.refuse('a promote runs: wait for it');
    await expect(it.commit(() => {})).rejects.toMatchObject({
      kind: 'refused',
      message: 'a promote runs: wait for it',
    });
    backend.error = new TypeError('x is undefined');
    await expect(it.status()).rejects.toMatchObject({ kind: 'failed', message: 'x is undefined' });
    expect(counted.get('control.internal-error')).toBe(1);
  });
});

describe('a resync of the kernel', () => {
  test('is waited for while the daemon answers, and shows how far it is', async () => {
    const progress = { phase: 'audit: read', done: 5, total: 9 };
    backend.report = { ...sampleStatus(), progress };
    await serve();
    let isSeen = (): void => undefined;
    backend.reading = new Promise((resolve) => {
      isSeen = resolve;
    });
    const seen: unknown[] = [];
    const report = await (await client()).resync('kernel', (p) => {
      seen.push(p);
      isSeen();
    });
    expect(seen[0]).toEqual(progress);
    expect(report).toEqual({ message: 'kernel done', exitCode: 0 });
  });

  test('ends with the daemon', async () => {
    const server = await serve();
    backend.reading = new Promise(() => undefined);
    const call = (await client()).resync('kernel', () => undefined);
    const outcome = expect(call).rejects.toMatchObject({ kind: 'unreachable' });
    await until(() => backend.asked.length > 0);
    server.close();
    await outcome;
  });
});

describe('listing flows', () => {
  test('batches arrive whole and in order', async () => {
    backend.batches = Array.from({ length: 50 }, (_, i) => new Uint8Array(26_000).fill(i + 1));
    await serve();
    const got: number[] = [];
    await (await client()).flows({ table: 'kernel', node: '', filter: {} }, ({ records, owners, nodes }) => {
      expect([records.length, owners[0], nodes]).toEqual([26_000, 0x02, ['fw2']]);
      got.push(records[25_999]);
    });
    expect(got).toEqual(Array.from({ length: 50 }, (_, i) => i + 1));
  });

  test('a slow reader holds the backend back instead of filling the daemon’s memory', async () => {
    backend.batches = Array.from({ length: 400 }, () => new Uint8Array(200_000));
    await serve();
    let release = () => {};
    const isHeld = new Promise<void>((resolve) => {
      release = resolve;
    });
    const listing = (await client()).flows({ table: 'kernel', node: '', filter: {} }, () => isHeld);
    await until(() => backend.batchesTaken > 0);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(backend.batchesTaken).toBeLessThan(100);
    release();
    await listing;
    expect(backend.batchesTaken).toBe(400);
  });

  test('a reader that goes away aborts the listing', async () => {
    backend.batches = Array.from({ length: 400 }, () => new Uint8Array(200_000));
    await serve();
    const stop = new Error('enough');
    const listing = (await client()).flows({ table: 'kernel', node: '', filter: {} }, () => {
      throw stop;
    });
    await expect(listing).rejects.toBe(stop);
    await until(() => backend.wasAborted);
    await until(() => counted.get('control.client-gone') === 1);
  });
});

describe('the socket file', () => {
  test('lets in owner and group only', async () => {
    await serve();
    expect(statSync(path).mode & 0o777).toBe(0o660);
  });

  test('is gone after close', async () => {
    (await serve()).close();
    await until(() => !existsSync(path));
  });

  test('left over by a killed daemon is replaced', async () => {
    const { execFileSync } = await import('node:child_process');
    const leave = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 9))`;
    expect(() => execFileSync(process.execPath, ['-e', leave], { stdio: 'ignore' })).toThrow();
    expect(existsSync(path)).toBe(true);
    await serve();
    expect((await (await client()).status()).node).toBe('fw1');
  });

  test('that another daemon serves is left alone', async () => {
    await serve();
    await expect(ControlServer.listen(path, new FakeBackend())).rejects.toThrow(
      `another daemon answers on ${path}: stop it first`,
    );
    expect((await (await client()).status()).node).toBe('fw1');
  });

  test('is not put in place of an ordinary file', async () => {
    writeFileSync(path, 'precious');
    await expect(serve()).rejects.toThrow('in the way and no socket');
    expect(existsSync(path)).toBe(true);
  });

  test('with a path one byte too long, or in no directory, is refused in one line', async () => {
    const long = `/tmp/${'x'.repeat(103)}`;
    await expect(ControlServer.listen(long, backend)).rejects.toThrow('longer than 107 bytes');
    await expect(ControlServer.listen(join(folder, 'no', 'dir'), backend)).rejects.toThrow(
      /^cannot listen on [^\n]+ \(ENOENT\): create its directory[^\n]+$/,
    );
  });
});

describe('a client without a daemon', () => {
  test('is told to start one, whether the socket is missing or dead', async () => {
    await expect(ControlClient.connect(path)).rejects.toMatchObject({ kind: 'unreachable' });
    await expect(ControlClient.connect(path)).rejects.toThrow('systemctl start conntwin');
  });

  test('is told so when the daemon dies in the middle of a call', async () => {
    let isRunning = false;
    backend.during = (_, signal) =>
      new Promise((resolve) => {
        isRunning = true;
        signal.addEventListener('abort', () => resolve());
      });
    const server = await serve();
    const call = (await client()).verify(() => {});
    const outcome = expect(call).rejects.toMatchObject({ kind: 'unreachable' });
    await until(() => isRunning);
    server.close();
    await outcome;
  });

  test('is told so by something that is no daemon', async () => {
    const other = createServer((socket) => {
      socket.on('error', () => {});
      socket.end('220 ftp ready\r\n');
    });
    await new Promise<void>((resolve) => other.listen(path, resolve));
    open.push(other);
    await expect((await client()).status()).rejects.toMatchObject({ kind: 'unreachable' });
  });
});

describe('hostile bytes', () => {
  test('2,000 random byte strings, some behind a valid preface, change nothing', async () => {
    await serve();
    let seed = 12_345;
    const random = () => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
      return seed >>> 8;
    };
    const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0', 'latin1');
    let foreign = 0;
    const attack = () =>
      new Promise<void>((resolve) => {
        const bytes = Buffer.from(Array.from({ length: random() % 300 }, () => random() & 255));
        const socket = connect(path);
        socket.on('error', () => {});
        socket.on('close', () => resolve());
        socket.resume();
        // The server may keep a half-closed connection until it counts as idle: do not wait for that.
        const leave = () => setTimeout(() => socket.destroy(), 5);
        const isHttp2 = (random() & 1) === 1;
        // A full accept queue refuses a connection.
        socket.on('connect', () => {
          if (!isHttp2 && bytes.length > 0) foreign++;
        });
        socket.end(isHttp2 ? Buffer.concat([preface, bytes]) : bytes, leave);
      });
    for (let round = 0; round < 40; round++) await Promise.all(Array.from({ length: 50 }, attack));
    expect(await (await client()).status()).toEqual(sampleStatus());
    expect(backend.asked).toEqual(['status']);
    expect(counted.get('control.not-http2')).toBe(foreign);
  });

  test('a client whose first bytes come one by one is served, one that says nothing is not counted', async () => {
    await serve();
    const relay = createServer(async (near) => {
      const far = connect(path);
      far.pipe(near);
      for (const socket of [near, far]) socket.on('error', () => {});
      for await (const chunk of near as AsyncIterable<Buffer>) {
        for (const byte of chunk.subarray(0, 30)) {
          far.write(Uint8Array.of(byte));
          await new Promise((resolve) => setImmediate(resolve));
        }
        far.write(chunk.subarray(30));
      }
      far.end();
    });
    const slow = join(folder, 'slow.sock');
    await new Promise<void>((resolve) => relay.listen(slow, resolve));
    open.push(relay);
    const made = await ControlClient.connect(slow);
    open.push(made);
    expect(await made.status()).toEqual(sampleStatus());
    expect(counted.size).toBe(0);
  });

  test('a request one byte over the limit is refused', async () => {
    await serve();
    const it = await client();
    const request = (source: string) => ({ table: 'kernel', node: '', filter: { source } }) as const;
    await expect(it.countFlows(request('1'.repeat(CONTROL_REQUEST_MAX_BYTES)))).rejects.toThrow(
      /larger than max/,
    );
    expect(await it.countFlows(request('1'.repeat(CONTROL_REQUEST_MAX_BYTES - 100)))).toBe(20_000);
    expect(backend.asked.length).toBe(1);
  });
});
