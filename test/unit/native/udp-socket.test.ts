import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import {
  AddressInUseError,
  AddressMissingError,
  InterfaceMissingError,
  SystemError,
} from '../../../native/system-error.js';
import { interfaceIndex, openUdpSocket, type UdpSocketOptions } from '../../../native/udp-socket.js';

const options: UdpSocketOptions = {
  interface: 'lo',
  family: 'IPv4',
  port: 0,
  receiveBufferBytes: 100_000,
  multicastLoop: true,
};
const opened: Socket[] = [];

afterEach(() => {
  for (const socket of opened.splice(0)) socket.close();
});

async function adopt(wish: Partial<UdpSocketOptions>): Promise<Socket> {
  const { fd } = openUdpSocket({ ...options, ...wish });
  const socket = createSocket(wish.family === 'IPv6' ? 'udp6' : 'udp4');
  opened.push(socket);
  const listening = once(socket, 'listening');
  socket.bind({ fd });
  await listening;
  return socket;
}

describe('openUdpSocket', () => {
  test('a datagram to its address reaches node:dgram', async () => {
    const socket = await adopt({ bindAddress: '127.0.0.1' });
    socket.send('hello', socket.address().port, '127.0.0.1');
    const [message] = await once(socket, 'message');
    expect(String(message)).toBe('hello');
  });

  test('a datagram to its group reaches it when looping is on', async () => {
    const socket = await adopt({ group: '225.0.0.77' });
    socket.send('to all', socket.address().port, '225.0.0.77');
    const [message] = await once(socket, 'message');
    expect(String(message)).toBe('to all');
  });

  test('it opens IPv6 groups too', async () => {
    const socket = await adopt({ family: 'IPv6', group: 'ff02::77' });
    expect(socket.address().family).toBe('IPv6');
  });

  test('it tells the interface index and the live receive buffer', async () => {
    const { fd, ifindex, receiveBufferBytes } = openUdpSocket(options);
    const socket = createSocket('udp4');
    opened.push(socket);
    const listening = once(socket, 'listening');
    socket.bind({ fd });
    await listening;
    expect(ifindex).toBe(interfaceIndex('lo'));
    expect(receiveBufferBytes).toBe(socket.getRecvBufferSize());
    expect(receiveBufferBytes).toBeGreaterThanOrEqual(100_000);
  });

  test('an interface that does not exist is named in the error', () => {
    const open = () => openUdpSocket({ ...options, interface: 'nosuch0' });
    expect(open).toThrow(InterfaceMissingError);
    expect(open).toThrow(/^find interface "nosuch0": no such device \(ENODEV\): create it/);
  });

  test('a port in use is refused, with the group as without', async () => {
    const first = await adopt({ bindAddress: '127.0.0.1' });
    const port = first.address().port;
    expect(() => openUdpSocket({ ...options, bindAddress: '127.0.0.1', port })).toThrow(AddressInUseError);
    expect(() => openUdpSocket({ ...options, port, group: '225.0.0.77' })).toThrow(AddressInUseError);
  });

  test('an address that is not ours is refused', () => {
    expect(() => openUdpSocket({ ...options, bindAddress: '192.0.2.1' })).toThrow(AddressMissingError);
  });

  test('wrong text and a group that is none are refused', () => {
    expect(() => openUdpSocket({ ...options, bindAddress: 'here' })).toThrow(SystemError);
    expect(() => openUdpSocket({ ...options, group: '10.0.0.1' })).toThrow(/224\.0\.0\.0\/4/);
  });
});
