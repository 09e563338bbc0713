/** The sync links as the daemon opens and shows them. */

import { type LinkFrameSink, LinkGroup } from '../channel/link-group.js';
import type { ChannelOptions } from '../channel/multicast-channel.js';
import type { LinkReport } from '../control/messages.js';
import type { Log } from '../flow/log.js';
import type { Config, LinkConfig } from './config.js';

/** Opens the links of a configuration. Rejects when none can be opened, or one for another reason than that it is missing. */
export function openLinks(config: Config, log: Log, onFrame: LinkFrameSink): Promise<LinkGroup> {
  return LinkGroup.open(config.links.map(channelOptions), {
    onFrame,
    onState: (link, error) => {
      const { interface: name, address } = config.links[link];
      if (error === undefined) log('info', 'link works again', { interface: name, address });
      else log('warn', 'link does not work, trying again', { interface: name, address, error });
    },
  });
}

function channelOptions({ interface: name, address, group, peers, port, mtu }: LinkConfig): ChannelOptions {
  return { interface: name, address, port, mtu, ...(group === undefined ? { peers } : { group }) };
}

/** Addresses that only sync uses: this node's own, its peers', the groups. */
export function linkAddresses(config: Config): string[] {
  return config.links.flatMap(({ address, group, peers }) => [
    address,
    ...peers,
    ...(group === undefined ? [] : [group]),
  ]);
}

/** The smallest MTU of the links: any of them may have to carry the data. Bytes. */
export const smallestMtu = (config: Config): number => Math.min(...config.links.map(({ mtu }) => mtu));

/** The links with their counters, and nobody heard yet; `dataLink` is the number of the one that carries the data. */
export function linkReports(config: Config, links: LinkGroup, dataLink: number): LinkReport[] {
  return config.links.map((link, number) => {
    const { counters, isUp } = links.channels[number];
    return {
      interface: link.interface,
      address: link.address,
      group: link.group ?? '',
      peers: link.peers,
      port: link.port,
      mtu: link.mtu,
      isUp,
      isData: number === dataLink,
      lastError: counters.lastError ?? '',
      framesSent: counters.sentFrames,
      framesReceived: counters.receivedFrames,
      bytesSent: counters.sentBytes,
      bytesReceived: counters.receivedBytes,
      sendErrors: counters.sendErrors,
      reopened: counters.reopened,
      heard: [],
    };
  });
}
