/** -I, -A and -G: requests about one flow that the command line names wholly. */
import { EEXIST, EINVAL, ENOENT } from '../../native/libc.js';
import { IPS_CONFIRMED } from '../flow/conntrack-enums.js';
import type { AttributeWriter } from '../kernel/attribute-writer.js';
import * as E from '../kernel/enums.js';
import { EXIT_OK, EXIT_OTHER, OperationError, ParameterError } from './errors.js';
import { FlowMatch } from './flow-match.js';
import { refused } from './list-flows.js';
import { Printer } from './printer.js';
import { writeProtoinfo } from './protoinfo-attributes.js';
import type { Run } from './run.js';
import type { Settings } from './settings.js';
import { familyOf, flowTuples, writeTuple } from './tuple-attributes.js';
import type { Translation } from './values.js';

function tuplesOf(settings: Settings) {
  const tuples = flowTuples(settings);
  if (tuples === undefined) {
    throw new ParameterError(
      '--src: the flow is not known wholly: give --src and --dst, or --reply-src and --reply-dst',
    );
  }
  return tuples;
}

/** -I and -A. An -A of a flow that is there already is no failure. */
export function createFlow(run: Run, settings: Settings): number {
  const { requester } = run;
  const { original, reply } = tuplesOf(settings);
  const out = requester.request;
  requester.beginFlow(E.IPCTNL_MSG_CT_NEW, E.NLM_F_CREATE | E.NLM_F_EXCL, familyOf(original));
  writeTuple(out, E.CTA_TUPLE_ORIG, original, settings.originalZone);
  writeTuple(out, E.CTA_TUPLE_REPLY, reply, settings.replyZone);
  out.u32(E.CTA_STATUS, (settings.status?.set ?? 0) | IPS_CONFIRMED);
  writeProtoinfo(out, settings.protocol ?? 0, settings);
  writeNat(out, E.CTA_NAT_SRC, settings.sourceNat);
  out.u32(E.CTA_TIMEOUT, settings.timeout ?? 0);
  if (settings.mark !== undefined) out.u32(E.CTA_MARK, settings.mark.value);
  writeNat(out, E.CTA_NAT_DST, settings.destinationNat);
  if (settings.zone !== undefined) out.u16(E.CTA_ZONE, settings.zone);
  if (settings.labelsAdded !== undefined) out.data(E.CTA_LABELS, settings.labelsAdded);
  const errno = requester.send();
  const isAdd = settings.letter === 'A';
  if (errno === EEXIST && !isAdd) {
    throw new OperationError('such a flow is there already: change it by -U (update)');
  }
  if (errno === EINVAL) {
    throw new OperationError(
      'the kernel refused to create the flow (EINVAL): its parameters do not fit together',
    );
  }
  if (errno !== 0 && errno !== EEXIST) throw refused('create the flow', errno);
  run.summary(errno === 0 ? 1 : 0, 'flow entries', isAdd ? 'added' : 'created');
  return EXIT_OK;
}

function writeNat(out: AttributeWriter, type: number, to: Translation | undefined): void {
  if (to?.address === undefined) return;
  const { address, port } = to;
  const isV6 = address.length === 16;
  out.nest(type, () => {
    out.data(isV6 ? E.CTA_NAT_V6_MINIP : E.CTA_NAT_V4_MINIP, address);
    out.data(isV6 ? E.CTA_NAT_V6_MAXIP : E.CTA_NAT_V4_MAXIP, address);
    if (port === undefined) return;
    out.nest(E.CTA_NAT_PROTO, () => {
      out.u16(E.CTA_PROTONAT_PORT_MIN, port);
      out.u16(E.CTA_PROTONAT_PORT_MAX, port);
    });
  });
}

/** -G: by the original tuple, or by the reply where only that is known. */
export function getFlow(run: Run, settings: Settings): number {
  const { requester } = run;
  const { original, reply } = tuplesOf(settings);
  const printer = new Printer(run, settings);
  const match = new FlowMatch(settings);
  const isByReply = settings.original.source === undefined;
  requester.beginFlow(E.IPCTNL_MSG_CT_GET, 0, familyOf(original));
  if (isByReply) writeTuple(requester.request, E.CTA_TUPLE_REPLY, reply);
  else writeTuple(requester.request, E.CTA_TUPLE_ORIG, original);
  printer.tick();
  const errno = requester.send((m) => {
    if (match.matches(m, 0)) printer.flow(m, 0);
  });
  if (errno === ENOENT) throw new OperationError('there is no such flow: conntrack -L lists what there is');
  if (errno !== 0) throw refused('get the flow', errno);
  printer.end();
  run.summary(printer.count, 'flow entries', 'shown');
  return printer.count > 0 ? EXIT_OK : EXIT_OTHER;
}
