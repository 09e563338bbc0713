import { connect } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { MetricsServer } from '../../../src/daemon/metrics.js';
import { sampleStatus } from '../control/fake-backend.js';

const open: MetricsServer[] = [];
afterEach(() => {
  for (const server of open.splice(0)) server.close();
});

async function serve(status = sampleStatus) {
  const server = await MetricsServer.listen('127.0.0.1', 0, status);
  open.push(server);
  return { port: server.port, get: (path: string) => fetch(`http://127.0.0.1:${server.port}${path}`) };
}

test('a scrape shows the status as it is now, counters as counters', async () => {
  let status = sampleStatus();
  const { get } = await serve(() => status);
  const text = await (await get('/metrics')).text();
  expect(text).toContain('conntwin_mirror_flows 12\n');
  expect(text).toContain('conntwin_role{role="backup"} 1\n');
  expect(text).toContain('conntwin_replica_in_sync{peer="fw2"} 1\n');
  expect(text).toContain('# TYPE conntwin_reasons_total counter\n');
  expect(text).toContain('conntwin_reasons_total{reason="frame.truncated"} 3\n');
  expect(text).toMatch(/conntwin_nodejs_eventloop_lag_seconds [\d.]+\n/);
  // Its timer would wake a daemon at rest a hundred times a second.
  expect(text).not.toContain('eventloop_lag_p99');
  // Another object, as the daemon's is: a scrape may keep one only for its own time.
  expect(text).toContain('conntwin_split_brain 0\n');
  status = {
    ...sampleStatus(),
    role: 'primary',
    splitBrain: ['fw2'],
    mirror: { ...status.mirror, flows: 13 },
  };
  const later = await (await get('/metrics')).text();
  expect(later).toContain('conntwin_mirror_flows 13\n');
  expect(later).toContain('conntwin_role{role="primary"} 1\n');
  expect(later).toContain('conntwin_split_brain 1\n');
  expect(later).not.toContain('role="backup"');
  expect(later).toContain('conntwin_reasons_total{reason="frame.truncated"} 3\n');
});

test('every link has its own readings, also two on one interface', async () => {
  const status = sampleStatus();
  const [link] = status.links;
  const heard = [{ node: 'fw2', silentMs: -1, hearsUsMs: 250 }];
  status.links.push({ ...link, address: 'fd00::1', isData: false, framesSent: 7, heard });
  const { get } = await serve(() => status);
  const text = await (await get('/metrics')).text();
  for (const line of [
    'conntwin_link_data{interface="sync",address="10.9.0.1"} 1',
    'conntwin_link_data{interface="sync",address="fd00::1"} 0',
    'conntwin_frames_sent_total{interface="sync",address="10.9.0.1"} 501',
    'conntwin_frames_sent_total{interface="sync",address="fd00::1"} 7',
    'conntwin_link_silent_seconds{interface="sync",address="10.9.0.1",peer="fw2"} 0.012',
    'conntwin_link_silent_seconds{interface="sync",address="fd00::1",peer="fw2"} Nan',
    'conntwin_link_deaf_seconds{interface="sync",address="fd00::1",peer="fw2"} 0.25',
    'conntwin_sealing_key_id 2',
    'conntwin_settings_differing{peer="fw2"} 1',
  ]) {
    expect(text).toContain(`${line}\n`);
  }
});

test('other paths and methods are refused', async () => {
  const { get, port } = await serve();
  expect((await get('/')).status).toBe(404);
  expect((await fetch(`http://127.0.0.1:${port}/metrics`, { method: 'POST', body: 'x' })).status).toBe(404);
});

test('garbage on the port leaves it serving', async () => {
  const { get, port } = await serve();
  await new Promise<void>((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.on('close', () => resolve());
    socket.resume();
    socket.end(Buffer.alloc(20_000, 'GET \0\xff'));
  });
  expect((await get('/metrics')).status).toBe(200);
});

test('a taken port is an error that says what to write', async () => {
  const { port } = await serve();
  await expect(MetricsServer.listen('127.0.0.1', port, sampleStatus)).rejects.toThrow(
    `cannot listen on 127.0.0.1:${port} (EADDRINUSE): write another metrics.listen, or \`metrics: off\``,
  );
});
