/** Amounts and times as people write them: 1M, 1.5GiB, 90s, 1h30m. */

const PREFIXES = ['', 'k', 'm', 'g', 't'];
const AMOUNT = /^(\d{1,15}(?:\.\d{1,6})?)([kmgt]?)(i?)(b?)$/i;
const DURATION = /^(?:\d{1,9}(?:\.\d{1,3})?(?:ms|s|sec|m|min|h|d|w))+$/i;
const DURATION_PART = /(\d{1,9}(?:\.\d{1,3})?)(ms|sec|s|min|m|h|d|w)/gi;
const SECONDS: Readonly<Record<string, number>> = {
  ...{ ms: 0.001, s: 1, sec: 1, m: 60, min: 60 },
  ...{ h: 3600, d: 86_400, w: 604_800 },
};

/** The number that "1500", "1.5k", "10M" or, in powers of 1,024, "10Mi" means; undefined if it is none. */
export function parseAmount(text: string): number | undefined {
  const match = AMOUNT.exec(text);
  if (match === null) return undefined;
  const [, digits, prefix, binary] = match;
  if (prefix === '' && binary !== '') return undefined;
  return Number(digits) * (binary === '' ? 1000 : 1024) ** PREFIXES.indexOf(prefix.toLowerCase());
}

/** Seconds of "90", "90s", "5m", "1h30m", "2d"; undefined if it is none. */
export function parseSeconds(text: string): number | undefined {
  if (/^\d{1,10}(?:\.\d{1,3})?$/.test(text)) return Number(text);
  if (!DURATION.test(text)) return undefined;
  let seconds = 0;
  for (const [, digits, unit] of text.matchAll(DURATION_PART)) {
    seconds += Number(digits) * SECONDS[unit.toLowerCase()];
  }
  return seconds;
}
