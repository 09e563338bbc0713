/** What rings the bell that creations have while events wait for each other. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { enterNetNamespace } from '../../native/net-namespace.js';
import { IPS_ASSURED, IPS_SEEN_REPLY } from '../../src/flow/conntrack-enums.js';
import { CounterMap } from '../../src/flow/counters.js';
import { KernelBatch, OP_CREATE, OP_DELETE, OP_UPDATE } from '../../src/flow/kernel-port.js';
import { eventProgram } from '../../src/kernel/event-program.js';
import { Injector } from '../../src/kernel/injector.js';
import { NewFlowBell } from '../../src/kernel/new-flow-bell.js';
import { makeRecord } from '../simulation/record-maker.js';
import { eventually } from './deadline.js';
import { addNamespace, freePrefix, removeNamespace } from './namespaces.js';

const name = `${freePrefix()}bell`;
let leave = (): void => undefined;
let own: Injector;
let other: Injector;
let bell: NewFlowBell;
let rings = 0;

beforeAll(async () => {
  await addNamespace(name);
  leave = enterNetNamespace(name);
  own = new Injector(new CounterMap());
  other = new Injector(new CounterMap());
  bell = new NewFlowBell(eventProgram(own.socket.portId)!, () => rings++);
});
afterAll(() => {
  bell?.close();
  own?.close();
  other?.close();
  leave();
  removeNamespace(name);
});

function write(injector: Injector, verb: number, sourcePort: number, mark = 0): void {
  const ends = { source: '10.0.0.1', destination: '10.0.1.1', sourcePort, destinationPort: 80 };
  const status = IPS_SEEN_REPLY | IPS_ASSURED;
  const { m } = makeRecord({ timeout: 600, status, protocol: 'udp', mark, ...ends });
  const batch = new KernelBatch();
  batch.add(verb, 0, m, 0);
  injector.execute(batch);
  expect(batch.errno[0]).toBe(0);
}

/** The kernel tells before a write returns, so the ring of the last one was the last there was. */
const rang = () => eventually('the bell rings', { withinMs: 20_000, everyMs: 5 }, () => rings > 0);

test('it rings for a new flow of somebody else, not for changes, ends, or what this process writes', async () => {
  bell.set(true);
  write(own, OP_CREATE, 1);
  write(other, OP_UPDATE, 1, 7);
  write(other, OP_DELETE, 1);
  expect(bell.take()).toBe(0);
  write(other, OP_CREATE, 2);
  expect(bell.take()).toBe(1);
  write(other, OP_CREATE, 3);
  await rang();
  rings = 0;
});

test('it is silent while it is off, and rings again after that', async () => {
  bell.set(false);
  write(other, OP_CREATE, 10);
  expect(bell.take()).toBe(0);
  bell.set(true);
  write(other, OP_CREATE, 11);
  await rang();
});

test('rings that nobody takes are no error', () => {
  rings = 0;
  for (let port = 100; port < 1000; port++) write(other, OP_CREATE, port);
  while (bell.take() > 0);
  write(other, OP_CREATE, 2000);
  expect(bell.take()).toBe(1);
});
