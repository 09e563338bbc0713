/**
 * The stage of an expectation, as stage.ts for flows: four tuples of the same layout, single values, two names, each
 * name with its length (u16) in the two bytes before it.
 */
import { EXPECT_FN_MAX_BYTES, EXPECT_HELPER_MAX_BYTES } from '../flow/expectation.js';
import { allocateMemory, type Memory } from '../flow/record.js';

export const STAGE_MASTER = 0;
export const STAGE_TUPLE = 40;
export const STAGE_MASK = 80;
export const STAGE_NAT_TUPLE = 120;
export const STAGE_TIMEOUT = 160; // u32, seconds
export const STAGE_FLAGS = 164; // u32
export const STAGE_CLASS = 168; // u32
export const STAGE_NAT_DIRECTION = 172; // u32
export const STAGE_ZONE = 176; // u16
export const STAGE_HELPER = 180;
export const STAGE_FN = STAGE_HELPER + EXPECT_HELPER_MAX_BYTES + 4;
const STAGE_BYTES = STAGE_FN + EXPECT_FN_MAX_BYTES;

/** Room for a name at its place. Bytes. */
export const nameRoom = (place: number): number =>
  place === STAGE_HELPER ? EXPECT_HELPER_MAX_BYTES : EXPECT_FN_MAX_BYTES;

/** An empty stage. */
export const createExpectationStage = (): Memory => allocateMemory(STAGE_BYTES);
