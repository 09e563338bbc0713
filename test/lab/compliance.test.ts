/** The compliance suite on the real kernel, each test in a network namespace of its own. */
import { enterNetNamespace } from '../../native/net-namespace.js';
import { CounterMap } from '../../src/flow/counters.js';
import { Kernel } from '../../src/kernel/kernel.js';
import { type ComplianceSubject, type ComplianceWish, testCompliance } from '../simulation/compliance.js';
import { testExpectationCompliance } from '../simulation/expectation-compliance.js';
import { runSync } from './command.js';
import { addNamespace, freePrefix, removeNamespace } from './namespaces.js';

/** The kernel gives twice what is asked for, and an event takes 1,280 bytes. */
const ASKED_PER_EVENT = 640;

const openKernel = async ({ events }: ComplianceWish): Promise<ComplianceSubject> => {
  const name = `${freePrefix()}ctfail-kernel`;
  await addNamespace(name);
  // Translation works only where a nat chain is; labels only where a rule uses them.
  runSync(['ip', 'netns', 'exec', name, 'nft', RULES]);
  const leave = enterNetNamespace(name);
  const counters = new CounterMap();
  const log = (): void => undefined;
  const open = (eventBufferBytes: number): Kernel =>
    Kernel.open({ counters, log, eventBufferBytes, reliable: false });
  const port = open(events === undefined ? 8 << 20 : events * ASKED_PER_EVENT);
  const other = open(1 << 20);
  return {
    port,
    foreign: other,
    pass: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    close: () => {
      port.close();
      other.close();
      leave();
      removeNamespace(name);
    },
  };
};

testCompliance('the real kernel', openKernel);
testExpectationCompliance('the real kernel', openKernel);

const RULES = `add table inet lab
  add chain inet lab post { type nat hook postrouting priority 100; }
  add rule inet lab post ct label 1 accept`;
