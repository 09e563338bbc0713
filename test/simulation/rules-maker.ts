/** Rules of a filter from what a test wants to say; what is left out holds for every flow. */
import type { FlowRules, ReplicateRules } from '../../src/flow/replicate-filter.js';

export type RulesWish = Partial<Omit<ReplicateRules, 'ignore'>> & { ignore?: Partial<FlowRules> };

export const flowRules = (wish: Partial<FlowRules>): FlowRules => ({
  protocols: [],
  addresses: [],
  ports: [],
  zones: [],
  marks: [],
  ...wish,
});

export const replicateRules = ({ ignore = {}, ...wish }: RulesWish): ReplicateRules => ({
  ...flowRules({}),
  tcpStates: [],
  status: [],
  direction: 'both',
  ...wish,
  ignore: flowRules(ignore),
});
