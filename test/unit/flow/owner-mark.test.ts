import { expect, it } from 'vitest';
import {
  nodeOfMark,
  OWNER_HELD,
  OWNER_NONE,
  OWNER_OWN,
  OWNER_REPLICA,
  ownerMark,
  ownerOfMark,
} from '../../../src/flow/owner-mark.js';
import { PEERS_MAX } from '../../../src/limits.js';

it('a mark has owner and peer in one byte, for as many peers as there may be', () => {
  const nodes = Array.from({ length: PEERS_MAX }, (_, i) => `fw${i}`);
  for (const owner of [OWNER_NONE, OWNER_OWN, OWNER_HELD, OWNER_REPLICA]) {
    for (const [i, node] of nodes.entries()) {
      const [mark] = Uint8Array.of(ownerMark(owner, i));
      expect([ownerOfMark(mark), nodeOfMark(mark, nodes)]).toEqual([owner, owner < OWNER_HELD ? '' : node]);
    }
  }
});
