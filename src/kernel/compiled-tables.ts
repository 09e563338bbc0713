/** The attribute tables flattened for the interpreters: one row of small integers for each attribute of each nest. */
import { type AttributeTable, CODEC_NESTED, CONNTRACK, EXPECTATION } from './attributes.js';

/** Rows of one flat table: attribute types are below this (ctnetlink's go to 27), so a nest's types fit in one mask. */
export const ROWS_PER_TABLE = 32;

/**
 * Every nest of the message has a flat table of its own (each tuple has its own, so a place in the stage is absolute):
 * the row of attribute `type` in table `t` is `t * ROWS_PER_TABLE + type`.
 */
export class CompiledTables {
  readonly codec: Uint8Array;
  readonly minBytes: Uint16Array;
  readonly maxBytes: Uint16Array;
  readonly target: Uint16Array;
  /** Table of the nest that stands at this row. */
  readonly child: Uint8Array;
  /** Words of the stage zeroed at the beginning of a nest, by table. */
  readonly clearFrom: Uint16Array;
  readonly clearWords: Uint8Array;
  readonly count: number;

  constructor(root: AttributeTable) {
    const flat: { table: AttributeTable; base: number }[] = [{ table: root, base: 0 }];
    const rows: number[][] = [];
    for (let t = 0; t < flat.length; t++) {
      const { table, base } = flat[t];
      for (const a of table.attributes) {
        if (a.nested) flat.push({ table: a.nested, base: base + a.target });
        const child = a.codec === CODEC_NESTED ? flat.length - 1 : 0;
        rows.push([t * ROWS_PER_TABLE + a.type, a.codec, a.size, a.max, base + a.target, child]);
      }
    }
    this.count = flat.length;
    const size = flat.length * ROWS_PER_TABLE;
    this.codec = new Uint8Array(size);
    this.minBytes = new Uint16Array(size);
    this.maxBytes = new Uint16Array(size);
    this.target = new Uint16Array(size);
    this.child = new Uint8Array(size);
    for (const [row, codec, min, max, target, child] of rows) {
      this.codec[row] = codec;
      this.minBytes[row] = min;
      this.maxBytes[row] = max;
      this.target[row] = target;
      this.child[row] = child;
    }
    this.clearFrom = Uint16Array.from(flat, ({ table, base }) => (base + (table.clears?.[0] ?? 0)) >>> 2);
    this.clearWords = Uint8Array.from(flat, ({ table }) => (table.clears?.[1] ?? 0) >>> 2);
  }

  /** Number of the flat table reached by these attribute types from the top; throws RangeError if there is none. */
  tableAt(...path: number[]): number {
    let table = 0;
    for (const type of path) {
      table = this.child[table * ROWS_PER_TABLE + type];
      if (table === 0) throw new RangeError(`no nested attribute at ${path.join('.')}`);
    }
    return table;
  }
}

/** ctnetlink's conntrack messages, flattened. */
export const CONNTRACK_TABLES = new CompiledTables(CONNTRACK);

/** ctnetlink's messages about expectations, flattened. */
export const EXPECTATION_TABLES = new CompiledTables(EXPECTATION);
