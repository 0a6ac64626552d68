// Figures to words.

export function stats(values) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  if (sorted.length === 0) return undefined;
  const middle = (sorted.length - 1) / 2;
  return { median: (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2, min: sorted[0], max: sorted.at(-1) };
}

/** The same with the middle half in place of the extremes, for many single requests. */
export function quartiles(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share) => sorted[Math.floor((sorted.length - 1) * share)];
  return sorted.length > 0 ? { median: at(0.5), min: at(0.25), max: at(0.75) } : undefined;
}

/** Two contenders' figures, one for each round, divided round by round: what slows one round slows both. */
export const ratio = (ours, theirs) => stats(ours.map((value, round) => value / theirs[round]));

const digits = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));
export const short = (value) => (value === undefined ? '–' : digits(value));
export const spread = (s) => (s ? `${digits(s.median)} (${digits(s.min)}–${digits(s.max)})` : '–');

/** A Markdown table; the first column to the left, the others to the right. */
export function table(head, rows) {
  const all = [head, ...rows].map((row) => row.map(String));
  const widths = head.map((_, i) => Math.max(3, ...all.map((row) => row[i].length)));
  const line = (row) => `| ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join(' | ')} |`;
  const rule = `| ${widths.map((w, i) => (i === 0 ? '-'.repeat(w) : `${'-'.repeat(w - 1)}:`)).join(' | ')} |`;
  return [line(all[0]), rule, ...all.slice(1).map(line)].join('\n');
}
