// Least squares with weights and without negative coefficients: no part of a step takes less than no time.
//
// Normal equations by Gauss's elimination; while a coefficient is negative, the most negative one is set to zero and
// the rest is fitted again. Columns are scaled to a largest entry of 1 first, because tokens and contexts differ by
// powers of ten.

/** One measurement: what it consisted of, and what came out. */
export interface Observation {
  readonly features: readonly number[];
  readonly value: number;
  /** How much its squared error counts. */
  readonly weight: number;
}

/** Coefficients, one a feature, none negative. Features that are zero everywhere get 0. */
export function fitNonNegative(observations: readonly Observation[]): number[] {
  const width = observations[0]?.features.length ?? 0;
  const scale = Array.from(
    { length: width },
    (_, i) => observations.reduce((most, { features }) => Math.max(most, Math.abs(features[i]!)), 0),
  );
  const active = scale.flatMap((most, i) => most > 0 ? [i] : []);
  while (active.length > 0) {
    const solution = solve(observations, active, scale);
    const lowest = solution.indexOf(Math.min(...solution));
    if (solution[lowest]! >= 0) {
      const result = new Array<number>(width).fill(0);
      active.forEach((feature, i) => result[feature] = solution[i]! / scale[feature]!);
      return result;
    }
    active.splice(lowest, 1);
  }
  return new Array<number>(width).fill(0);
}

function solve(
  observations: readonly Observation[],
  active: readonly number[],
  scale: readonly number[],
): number[] {
  const size = active.length;
  const rows = Array.from({ length: size }, () => new Array<number>(size + 1).fill(0));
  for (const { features, value, weight } of observations) {
    const x = active.map((feature) => features[feature]! / scale[feature]!);
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < size; j++) rows[i]![j]! += weight * x[i]! * x[j]!;
      rows[i]![size]! += weight * x[i]! * value;
    }
  }
  // Features that cannot be told apart share their part: a trace of the diagonal keeps the equations solvable.
  const trace = rows.reduce((sum, row, i) => sum + row[i]!, 0);
  rows.forEach((row, i) => row[i]! += trace * 1e-12);
  return eliminate(rows);
}

/** Solves size equations, each with its right side at the end. */
function eliminate(rows: number[][]): number[] {
  const size = rows.length;
  for (let column = 0; column < size; column++) {
    let pivot = column;
    for (let i = column + 1; i < size; i++) {
      if (Math.abs(rows[i]![column]!) > Math.abs(rows[pivot]![column]!)) pivot = i;
    }
    [rows[column], rows[pivot]] = [rows[pivot]!, rows[column]!];
    const top = rows[column]!;
    for (let i = column + 1; i < size; i++) {
      const factor = rows[i]![column]! / top[column]!;
      for (let j = column; j <= size; j++) rows[i]![j]! -= factor * top[j]!;
    }
  }
  const solution = new Array<number>(size).fill(0);
  for (let i = size - 1; i >= 0; i--) {
    let rest = rows[i]![size]!;
    for (let j = i + 1; j < size; j++) rest -= rows[i]![j]! * solution[j]!;
    solution[i] = rest / rows[i]![i]!;
  }
  return solution;
}
