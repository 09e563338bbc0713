import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { MethodDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type {
  ExpectationsRequest,
  FailoverReport,
  FlowBatch,
  FlowsRequest,
  FlushReport,
  Progress,
  PurgeReport,
  ReadyReport,
  ReloadReport,
  ResyncReport,
  StatusReport,
  VerifyReport,
} from './messages.js';

/** One message of a long call: progress, or at the end the report. */
export type Update<Report> = { progress?: Progress | null; report?: Report | null };

/** Every call of the service with its request and its reply. */
export interface ControlMethods {
  Status: MethodDefinition<object, StatusReport>;
  Failover: MethodDefinition<{ role: string }, Update<FailoverReport>>;
  Commit: MethodDefinition<object, Update<FailoverReport>>;
  Purge: MethodDefinition<object, Update<PurgeReport>>;
  Drill: MethodDefinition<object, Update<FailoverReport>>;
  Verify: MethodDefinition<object, Update<VerifyReport>>;
  Resync: MethodDefinition<{ kind: string }, ResyncReport>;
  Flush: MethodDefinition<{ table: string }, FlushReport>;
  ListFlows: MethodDefinition<FlowsRequest, FlowBatch>;
  ListExpectations: MethodDefinition<ExpectationsRequest, FlowBatch>;
  CountFlows: MethodDefinition<FlowsRequest, { count: number }>;
  SetLogLevel: MethodDefinition<{ level: string }, object>;
  Reload: MethodDefinition<object, ReloadReport>;
  Ready: MethodDefinition<{ isChecked: boolean }, ReadyReport>;
}

/** proto/conntwin.proto stands two levels up from src/control, three from dist/src/control. */
function protoFile(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  for (const up of ['../..', '../../..']) {
    const file = join(here, up, 'proto', 'conntwin.proto');
    if (existsSync(file)) return file;
  }
  throw new Error(`proto/conntwin.proto is missing above ${here}: install the conntwin package again`);
}

/** The service's methods from the proto file. Throws if the file is missing or broken. */
export function loadControlMethods(): ControlMethods {
  const definition = loadSync(protoFile(), { longs: Number, defaults: true });
  return definition['conntwin.v1.Control'] as unknown as ControlMethods;
}
