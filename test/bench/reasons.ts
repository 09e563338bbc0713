/** What an event costs before anybody looks at it. */
const HANDED_OVER =
  'more than a third is the kernel handing the event over, which both sides pay; the rest is decoding, one look into the table and the frame, and no cheaper way was found';

/** Why a figure misses its target, as far as anybody has found out; by its id, or the beginning of it. */
const REASONS: Readonly<Record<string, string>> = {
  'create.active': HANDED_OVER,
  'update.active': HANDED_OVER,
  'delete.active': HANDED_OVER,
  'mixed.create.active': HANDED_OVER,
  'mixed.update.active': HANDED_OVER,
  'mixed.delete.active': HANDED_OVER,
  'mixed.update.backup': 'the rounds of both sides differ by more than what is missing',
  'commit.perSecond':
    'four times conntrackd is more than this kernel takes from a loop that does nothing else; what is missing to that loop is what happens between two sends, an eighth of the time by profile',
  'stall.':
    'seen in the first second after the start and while the table fills, in code that V8 had not compiled yet and in its collector; none was seen in a commit',
  'tcp.1000':
    'an opening and an end each wake both daemons; at such rates a wake-up costs JavaScript some 100 us, for its code has left the caches',
  'rate.lossless':
    'the loop that only receives loses events at the same rate: the kernel delivers no more here',
  'latency.1000.':
    'both daemons wake for each flow, and JavaScript finds cold caches; above the median V8 compiles and collects',
  'latency.10000.':
    'a frame waits up to 0.1 ms for the next flows, and both daemons, the generator and the receiver share two cores: what JavaScript takes for a flow more than C',
  'idle.':
    'some 20 to 30 wake-ups a second, one or two peers: heartbeats, MARKs, acknowledgements, links, the background audit; a bare timer of Node.js costs 130 us here when it is the only thing that runs, and such a wake-up 300 to 400; --quick looks after 12 s, when V8 still compiles, and finds up to three times as much',
};

/** The reason that is known for a miss, or "not found". */
export function reasonOf(id: string): string {
  const known = Object.entries(REASONS).filter(([prefix]) => id.startsWith(prefix));
  const [longest] = known.sort(([a], [b]) => b.length - a.length);
  return longest?.[1] ?? 'not found';
}
