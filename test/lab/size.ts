/** How big the lab's longer tests are: small enough for every run, or the full size by hand. */

/** `CONNTWIN_LAB=full npm run test:lab` runs everything at full size. */
export const isFullSize = process.env.CONNTWIN_LAB === 'full';

/** The first number in an ordinary run, the second at full size. */
export function sized(ordinary: number, full: number): number {
  return isFullSize ? full : ordinary;
}
