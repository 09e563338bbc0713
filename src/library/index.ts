/** `import { Conntrack } from 'conntwin'`: docs/library.md shows how. */
export { SystemError } from '../../native/system-error.js';
export { type Expectation, formatExpectation } from '../flow/expectation-text.js';
export type { Flow, PacketCounters, Protoinfo, SequenceAdjustment, StatusName, Tuple } from '../flow/flow.js';
export { formatConntrack, formatJson, type TextOptions } from '../flow/text.js';
export { ConntrackMissingError, NetAdminMissingError } from '../kernel/kernel-error.js';
export type { CpuStats, ExpectationCpuStats } from '../kernel/table-requests.js';
export type { CallOptions, EventOptions, ListOptions } from './call-options.js';
export {
  Conntrack,
  type DeleteResult,
  type FlowEvent,
  type OpenOptions,
  type TableStats,
} from './conntrack.js';
export {
  ClosedError,
  EventsDisabledError,
  FlowExistsError,
  FlowMissingError,
  ListInterruptedError,
  TableFullError,
} from './errors.js';
export type { EventStream, OverrunEvent } from './event-stream.js';
export type { ExpectationInput } from './expectation-input.js';
export type { ExpectationEvent, Expectations } from './expectations.js';
export type { FlowChanges, FlowInput, FlowKey } from './flow-input.js';
export type { FlowFilter } from './flow-selection.js';
