// The fit, on measurements whose coefficients are known.

import assert from "node:assert/strict";
import { fitNonNegative } from "../../../bench/capacity/least_squares.ts";
import { PythonRandom } from "../../../bench/common/python_random.ts";

function planted(coefficients: readonly number[], count: number, noise: number) {
  const random = new PythonRandom(3);
  return Array.from({ length: count }, () => {
    const features = coefficients.map((_, i) => i === 0 ? 1 : random.int(0, 10 ** i));
    const exact = features.reduce((sum, each, i) => sum + each * coefficients[i]!, 0);
    return {
      features,
      value: exact * (1 + noise * (random.next() - 0.5)),
      weight: 1 / Math.max(exact, 1e-3) ** 2,
    };
  });
}

function close(actual: readonly number[], expected: readonly number[], share: number): void {
  assert.equal(actual.length, expected.length);
  expected.forEach((value, i) =>
    assert.ok(
      Math.abs(actual[i]! - value) <= share * Math.max(value, 1e-9),
      `${i}: ${actual[i]}, not ${value}`,
    )
  );
}

Deno.test("a fit finds the coefficients that measurements were made from", () => {
  const coefficients = [0.5, 0.2, 0.003, 0.00007];
  close(fitNonNegative(planted(coefficients, 200, 0)), coefficients, 1e-5);
});

Deno.test("noise of a tenth moves the coefficients by less than a tenth", () => {
  const coefficients = [0.5, 0.2, 0.003, 0.00007];
  close(fitNonNegative(planted(coefficients, 2000, 0.1)), coefficients, 0.1);
});

Deno.test("no coefficient is negative, and a feature that never occurs costs nothing", () => {
  const observations = [1, 2, 3, 4].map((x) => ({ features: [1, x, 0], value: 5 - x, weight: 1 }));
  const fitted = fitNonNegative(observations);
  assert.ok(fitted.every((each) => each >= 0));
  close(fitted, [2.5, 0, 0], 1e-9);
});
