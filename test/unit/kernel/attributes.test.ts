import { describe, expect, it } from 'vitest';
import { type AttributeTable, CODEC_NESTED, CONNTRACK, EXPECTATION } from '../../../src/kernel/attributes.js';
import { CONNTRACK_TABLES, CompiledTables, ROWS_PER_TABLE } from '../../../src/kernel/compiled-tables.js';
import * as enums from '../../../src/kernel/enums.js';
import { createStage } from '../../../src/kernel/stage.js';

function walk(table: AttributeTable, visit: (a: AttributeTable['attributes'][number]) => void): void {
  for (const attribute of table.attributes) {
    visit(attribute);
    if (attribute.nested) walk(attribute.nested, visit);
  }
}

describe('the attribute tables', () => {
  it('know every CTA_ constant', () => {
    const inTables = new Set<string>();
    for (const table of [CONNTRACK, EXPECTATION]) walk(table, (a) => inTables.add(a.name));
    const constants = Object.keys(enums).filter((name) => name.startsWith('CTA_'));
    // Statistics, and what a dump's filter says, are no attributes of a flow.
    const ofFlows = constants.filter((name) => !/^CTA_(STATS|FILTER)_/.test(name));
    expect(ofFlows.filter((name) => !inTables.has(name))).toEqual([]);
  });

  it('name each type once in a nest, below the rows of a flat table', () => {
    const check = (table: AttributeTable): void => {
      const types = table.attributes.map((a) => a.type);
      expect(new Set(types).size, table.name).toBe(types.length);
      expect(Math.max(...types)).toBeLessThan(ROWS_PER_TABLE);
      for (const a of table.attributes) if (a.nested) check(a.nested);
    };
    check(CONNTRACK);
    check(EXPECTATION);
  });

  it('are flattened with absolute places, each aligned for its size and inside the stage', () => {
    const stageBytes = createStage().u8.length;
    const { codec, target, maxBytes } = CONNTRACK_TABLES;
    for (let row = 0; row < codec.length; row++) {
      if (codec[row] < 2 || codec[row] > 8) continue;
      const size = maxBytes[row];
      expect(target[row] % Math.min(size, 4), `row ${row}`).toBe(0);
      expect(target[row] + size).toBeLessThanOrEqual(stageBytes);
    }
  });

  it('lead to the nested tables, and nowhere else', () => {
    expect(CONNTRACK_TABLES.tableAt()).toBe(0);
    const first = CONNTRACK_TABLES.tableAt(enums.CTA_TUPLE_ORIG, enums.CTA_TUPLE_IP);
    const second = CONNTRACK_TABLES.tableAt(enums.CTA_TUPLE_REPLY, enums.CTA_TUPLE_IP);
    expect(first).not.toBe(second);
    expect(() => CONNTRACK_TABLES.tableAt(enums.CTA_STATUS)).toThrow(RangeError);
    const again = new CompiledTables(CONNTRACK);
    expect(again.count).toBe(CONNTRACK_TABLES.count);
    expect(again.codec[enums.CTA_TUPLE_ORIG]).toBe(CODEC_NESTED);
  });
});
