/** State and what belongs to it as attributes of a request, for the three protocols that have any. */
import { IPPROTO_DCCP, IPPROTO_SCTP, IPPROTO_TCP, TCP_CONNTRACK_TIME_WAIT } from '../flow/conntrack-enums.js';
import type { AttributeWriter } from '../kernel/attribute-writer.js';
import * as E from '../kernel/enums.js';
import type { Settings } from './settings.js';

/**
 * IP_CT_TCP_FLAG_SACK_PERM and _BE_LIBERAL, linux/netfilter/nf_conntrack_tcp.h: nobody told the kernel the windows of a
 * flow that is made by hand, and without these it would drop the flow's packets.
 */
const TCP_FLAGS = 0x0a;
/** IP_CT_TCP_FLAG_CLOSE_INIT: without it the kernel lets no SYN open a flow again that is in TIME_WAIT or beyond. */
const TCP_CLOSED_FLAG = 0x04;

/** What a protocol keeps besides the tuple; tags as conntrack(8) writes them. */
export type ProtoinfoSettings = Pick<Settings, 'state' | 'vtagOriginal' | 'vtagReply' | 'isServer'>;

/** Nothing is written without a state: the kernel takes none of it then. */
export function writeProtoinfo(out: AttributeWriter, protocol: number, info: ProtoinfoSettings): void {
  const { state } = info;
  if (state === undefined) return;
  out.nest(E.CTA_PROTOINFO, () => {
    if (protocol === IPPROTO_TCP) out.nest(E.CTA_PROTOINFO_TCP, () => writeTcp(out, state));
    else if (protocol === IPPROTO_SCTP) {
      out.nest(E.CTA_PROTOINFO_SCTP, () => {
        out.u8(E.CTA_PROTOINFO_SCTP_STATE, state);
        // Tags stand in the packets' order in the kernel, and conntrack(8) has always taken and shown their bytes as they are.
        out.hostU32(E.CTA_PROTOINFO_SCTP_VTAG_ORIGINAL, info.vtagOriginal ?? 0);
        out.hostU32(E.CTA_PROTOINFO_SCTP_VTAG_REPLY, info.vtagReply ?? 0);
      });
    } else if (protocol === IPPROTO_DCCP) {
      out.nest(E.CTA_PROTOINFO_DCCP, () => {
        out.u8(E.CTA_PROTOINFO_DCCP_STATE, state);
        out.u8(E.CTA_PROTOINFO_DCCP_ROLE, info.isServer === true ? 1 : 0);
      });
    }
  });
}

function writeTcp(out: AttributeWriter, state: number): void {
  const bits = state < TCP_CONNTRACK_TIME_WAIT ? TCP_FLAGS : TCP_FLAGS | TCP_CLOSED_FLAG;
  const flags = Uint8Array.of(bits, bits);
  out.u8(E.CTA_PROTOINFO_TCP_STATE, state);
  out.data(E.CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, flags);
  out.data(E.CTA_PROTOINFO_TCP_FLAGS_REPLY, flags);
}
