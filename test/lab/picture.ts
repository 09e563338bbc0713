/** The demo's picture: client, two firewalls and server, what each holds, and what is happening. */
import type { StatusReport } from '../../src/control/messages.js';
import type { FirewallName } from './lab.js';
import type { TrafficState } from './traffic-program.js';

/** One firewall as the picture shows it. */
export interface FirewallView {
  readonly name: FirewallName;
  readonly hasAddresses: boolean;
  readonly isCut: boolean;
  readonly status: StatusReport | undefined;
}

export interface DemoView {
  readonly elapsedMs: number;
  /** What is happening now, in a few words. */
  readonly now: string;
  readonly firewalls: readonly [FirewallView, FirewallView];
  readonly traffic: TrafficState | undefined;
}

const BOX = 40;
const SIDE = 15;
const number = (value: number) => value.toLocaleString('en-US');

/** The lines inside a firewall's box. */
function inside(view: FirewallView): string[] {
  const { status } = view;
  const where = view.hasAddresses ? ' *' : '';
  if (status === undefined) return [`${view.name}${where}`, 'no daemon yet', ''];
  const replica = status.replicas
    .map((r) => `${r.node} ${number(r.flows)}${r.inSync ? ' =' : ''}`)
    .join(', ');
  return [
    `${view.name}${where}  ${status.role}${status.activity ? `, ${status.activity}` : ''}`,
    `kernel ${number(status.kernel.flows)}  mirror ${number(status.mirror.flows)}`,
    `replica of ${replica || 'nobody yet'}`,
  ];
}

function box(view: FirewallView): string[] {
  const rule = `   +${'-'.repeat(BOX)}+   `;
  const cable = view.isCut ? ' x ' : '---';
  const lines = inside(view).map((text, i) => {
    const side = i === 1 ? cable : '   ';
    return `${side}| ${text.padEnd(BOX - 2).slice(0, BOX - 2)} |${side}`;
  });
  return [rule, ...lines, rule];
}

function clientLines(traffic: TrafficState | undefined): string[] {
  if (traffic === undefined) return ['client', '', ''];
  const silent = traffic.silent > 0 ? `${number(traffic.silent)} silent` : 'all talking';
  return ['client', `${number(traffic.alive)} alive`, silent];
}

/** The picture as lines of at most 80 characters. */
export function drawPicture(view: DemoView): string[] {
  const [upper, lower] = view.firewalls;
  const sync = upper.isCut || lower.isCut ? 'x  sync' : '|  sync';
  const middle = ['', `${' '.repeat(BOX / 2)}${sync}`, ''].map((text) => text.padEnd(BOX + 8));
  const rows = [...box(upper), ...middle, ...box(lower)];
  const client = clientLines(view.traffic);
  const first = box(upper).length;
  const lines = rows.map((row, i) => {
    const isBetween = i >= 2 && i < rows.length - 2;
    const left = (client[i - first] ?? '').padEnd(SIDE - 3) + (isBetween ? '|' : ' ');
    const right = `${isBetween ? '|' : ' '} ${i === first ? 'server' : ''}`;
    return `${left}${row}${right}`.trimEnd();
  });
  const seconds = (view.elapsedMs / 1000).toFixed(1).padStart(6);
  return [
    ...lines,
    '',
    `${seconds} s  ${view.now}`,
    '          * has the shared addresses   = proven in sync',
  ];
}
