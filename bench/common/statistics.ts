// Medians and percentiles of measurements.

/** The value below which `share` (0 … 1) of the values lie, interpolated between neighbours; NaN of nothing. */
export function percentile(values: readonly number[], share: number): number {
  if (values.length === 0) return NaN;
  const sorted = values.toSorted((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const below = sorted[Math.floor(at)]!, above = sorted[Math.ceil(at)]!;
  return below + (above - below) * (at - Math.floor(at));
}

/** The middle value. */
export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/** The arithmetic mean; NaN of nothing. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The slope of the straight line through points (x, y) with the least squares; NaN where there is none. */
export function trend(points: readonly (readonly [number, number])[]): number {
  const x = mean(points.map(([x]) => x)), y = mean(points.map(([, y]) => y));
  const squares = points.reduce((sum, [each]) => sum + (each - x) ** 2, 0);
  return points.reduce((sum, [eachX, eachY]) => sum + (eachX - x) * (eachY - y), 0) / squares;
}
