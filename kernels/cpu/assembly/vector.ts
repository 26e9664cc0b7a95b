// Four-lane arithmetic that the kernels share: fused multiply-add, exponential, sums and a 4 × 4 transpose.
//
// The one place where the two builds differ: with relaxed SIMD `madd` is one rounding (a fused instruction), in
// the plain build it is a product and a sum.

/** a · b + c. */
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

/** Sum of the four lanes. */
@inline
export function sum4(v: v128): f32 {
  v = f32x4.add(v, v128.shuffle<f32>(v, v, 2, 3, 0, 1));
  return f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1);
}

/** Largest of the four lanes. */
@inline
export function max4(v: v128): f32 {
  v = f32x4.pmax(v, v128.shuffle<f32>(v, v, 2, 3, 0, 1));
  return f32x4.extract_lane(f32x4.pmax(v, v128.shuffle<f32>(v, v, 1, 0, 3, 2)), 0);
}

/**
 * Constants of `exp4`, in memory: a vector constant in the code is put together from scalars at each use, one at a
 * fixed address is a load.
 */
const exponential = memory.data<f32>([
  -87, -87, -87, -87,
  87, 87, 87, 87,
  12582912, 12582912, 12582912, 12582912,
  1.44269504088896341, 1.44269504088896341, 1.44269504088896341, 1.44269504088896341,
  -0.693359375, -0.693359375, -0.693359375, -0.693359375,
  2.12194440e-4, 2.12194440e-4, 2.12194440e-4, 2.12194440e-4,
  1.9875691500e-4, 1.9875691500e-4, 1.9875691500e-4, 1.9875691500e-4,
  1.3981999507e-3, 1.3981999507e-3, 1.3981999507e-3, 1.3981999507e-3,
  8.3334519073e-3, 8.3334519073e-3, 8.3334519073e-3, 8.3334519073e-3,
  4.1665795894e-2, 4.1665795894e-2, 4.1665795894e-2, 4.1665795894e-2,
  1.6666665459e-1, 1.6666665459e-1, 1.6666665459e-1, 1.6666665459e-1,
  5.0000001201e-1, 5.0000001201e-1, 5.0000001201e-1, 5.0000001201e-1,
  1, 1, 1, 1,
], 16);

@inline
function constant(index: usize): v128 {
  return v128.load(exponential + index * 16);
}

/**
 * e^x to about one unit in the last place, for x clamped to ±87; NaN stays NaN. x = n·ln 2 + r, a polynomial in r
 * (coefficients of Cephes' expf, Moshier 1992), n added to the exponent bits.
 */
export function exp4(x: v128): v128 {
  x = f32x4.pmin(f32x4.pmax(x, constant(0)), constant(1));
  // Adding 1.5 · 2²³ rounds to an integer that stands in the low bits.
  const t = f32x4.add(f32x4.mul(x, constant(3)), constant(2));
  const n = f32x4.sub(t, constant(2));
  const r = madd(n, constant(5), madd(n, constant(4), x));
  let p = madd(constant(6), r, constant(7));
  p = madd(p, r, constant(8));
  p = madd(p, r, constant(9));
  p = madd(p, r, constant(10));
  p = madd(p, r, constant(11));
  p = f32x4.add(madd(f32x4.mul(r, r), p, r), constant(12));
  // The bits of 1, with n added to the exponent.
  return f32x4.mul(p, i32x4.add(i32x4.shl(t, 23), constant(12)));
}

/** Zeroes `bytes` bytes, a multiple of 16; `memory.fill` would be a call out of the module. */
@inline
export function clear(to: usize, bytes: usize): void {
  for (const end = to + bytes; to < end; to += 16) v128.store(to, f32x4.splat(0));
}

/** Place of number `index` (0 … 7) among eight 16-bit ones: unpacking even, then odd lanes puts them in order. */
@inline
export function lanePosition(index: usize): usize {
  return index < 4 ? 2 * index : 2 * index - 7;
}

/** cap · tanh(x / cap), the tanh as 1 − 2 / (1 + e^2z). */
@inline
export function softCap(x: v128, cap: f32): v128 {
  const e = exp4(f32x4.mul(x, f32x4.splat(2 / cap)));
  const t = f32x4.sub(f32x4.splat(1), f32x4.div(f32x4.splat(2), f32x4.add(f32x4.splat(1), e)));
  return f32x4.mul(t, f32x4.splat(cap));
}

/** Writes the transpose of four row vectors: 16 numbers, column after column. */
@inline
export function storeTransposed(to: usize, a: v128, b: v128, c: v128, d: v128): void {
  const ab0 = v128.shuffle<f32>(a, b, 0, 4, 1, 5), ab1 = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
  const cd0 = v128.shuffle<f32>(c, d, 0, 4, 1, 5), cd1 = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
  v128.store(to, v128.shuffle<f64>(ab0, cd0, 0, 2));
  v128.store(to, v128.shuffle<f64>(ab0, cd0, 1, 3), 16);
  v128.store(to, v128.shuffle<f64>(ab1, cd1, 0, 2), 32);
  v128.store(to, v128.shuffle<f64>(ab1, cd1, 1, 3), 48);
}
