// Rotary frequencies and tables against numbers computed independently (in Python, from the published formulas).

import assert from "node:assert/strict";
import type { RopeConfig } from "../../../engine/model/config.ts";
import { ropeFrequencies, ropeTables } from "../../../engine/model/rope.ts";

function close(actual: ArrayLike<number>, expected: readonly number[]): void {
  assert.equal(actual.length, expected.length);
  expected.forEach((value, i) => {
    assert.ok(
      Math.abs(actual[i]! - value) <= 1e-12 * Math.abs(value),
      `pair ${i}: ${actual[i]}, not ${value}`,
    );
  });
}

const yarn = {
  type: "yarn",
  betaFast: 32,
  betaSlow: 1,
  attentionFactor: 1.25,
  truncate: true,
} as const;

Deno.test("linear scaling divides every frequency by the factor", () => {
  const plain = ropeFrequencies({ type: "default", theta: 10000 }, 16, 64);
  close(plain.slice(0, 2), [1, 10000 ** (-1 / 8)]);
  close(
    ropeFrequencies({ type: "linear", theta: 10000, factor: 4 }, 16, 64),
    [...plain].map((f) => f / 4),
  );
});

Deno.test("Llama 3's scaling keeps short wavelengths, divides long ones, and blends between", () => {
  const rope: RopeConfig = {
    type: "llama3",
    theta: 500000,
    factor: 8,
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalPositions: 8192,
  };
  close(ropeFrequencies(rope, 16, 64), [
    1.0,
    0.19392274474868576,
    0.03760603093086393,
    0.007292664737217109,
    0.0005248461609929547,
    3.428102195952591e-05,
    6.647869871181235e-06,
    1.2891731721515574e-06,
  ]);
});

Deno.test("YaRN interpolates by parts, with and without truncated bounds, and where the bounds meet", () => {
  const rope = { ...yarn, theta: 1e6, factor: 4, originalPositions: 32768 };
  const shared = [1.0, 0.17782794100389226, 0.03162277660168379];
  const slow = [4.445698525097307e-05, 7.905694150420949e-06, 1.4058533129758728e-06];
  close(ropeFrequencies(rope, 16, 64), [...shared, 0.004217559938927618, 0.0005, ...slow]);
  close(
    ropeFrequencies({ ...rope, truncate: false }, 16, 64),
    [...shared, 0.0055172704751341225, 0.0006074079378798391, ...slow],
  );
  close(ropeFrequencies({ ...rope, theta: 10000, factor: 2, originalPositions: 4 }, 16, 64), [
    1.0,
    0.15811388300841897,
    0.05,
    0.015811388300841896,
    0.005,
    0.0015811388300841895,
    0.0005,
    0.00015811388300841897,
  ]);
});

Deno.test("dynamic scaling changes nothing up to the original context and stretches the base beyond", () => {
  const rope: RopeConfig = { type: "dynamic", theta: 10000, factor: 2, originalPositions: 2048 };
  close(ropeFrequencies(rope, 16, 2048), [
    ...ropeFrequencies({ type: "default", theta: 10000 }, 16, 1),
  ]);
  close(ropeFrequencies(rope, 16, 4096), [
    1.0,
    0.2702961256924036,
    0.07305999556432365,
    0.019747833744140873,
    0.005337762951858991,
    0.001442776645751933,
    0.000389976937586229,
    0.00010540925533894598,
  ]);
});

Deno.test("tables hold cosine and sine of position times frequency, times YaRN's attention factor", () => {
  const rope = { ...yarn, theta: 1e6, factor: 4, originalPositions: 32768 };
  const { cosine, sine, half } = ropeTables(rope, { headDim: 16, rotaryDim: 16 }, 5);
  assert.equal(half, 8);
  assert.equal(cosine.length, 40);
  const frequencies = ropeFrequencies(rope, 16, 5);
  for (let p = 0; p < 5; p++) {
    for (let i = 0; i < 8; i++) {
      assert.equal(cosine[p * 8 + i], Math.fround(1.25 * Math.cos(p * frequencies[i]!)));
      assert.equal(sine[p * 8 + i], Math.fround(1.25 * Math.sin(p * frequencies[i]!)));
    }
  }
});

Deno.test("LongRoPE takes the short divisors up to the original length, the long ones beyond it", () => {
  const short = [1, 1.5],
    long = [2, 8],
    theta = 10000,
    plain = ropeFrequencies({ type: "default", theta }, 4, 1);
  const rope = { type: "longrope", theta, short, long, originalPositions: 64, attentionFactor: 1.2 } as const;
  assert.deepEqual([...ropeFrequencies(rope, 4, 64)], short.map((factor, i) => plain[i]! / factor));
  assert.deepEqual([...ropeFrequencies(rope, 4, 65)], long.map((factor, i) => plain[i]! / factor));
  const { cosine } = ropeTables(rope, { headDim: 6, rotaryDim: 4 }, 2);
  // What does not turn is not scaled either.
  assert.deepEqual([...cosine.subarray(0, 3)], [...Float32Array.of(1.2, 1.2, 1)]);
});
