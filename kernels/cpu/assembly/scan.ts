// Passes over a row of logits for the sampler: maximum, sum of exponentials, and lists of candidates.
//
// They narrow 150,000 logits down to a few hundred in float32; `../sampling.ts` then decides among those in
// float64, exactly as the reference does.

import { exp4, max4 } from "./vector";

/** Index of the first of the largest numbers; NaN is never the largest. */
export function argmax(x: usize, count: u32): u32 {
  let m = f32x4.splat(-Infinity);
  const end = x + <usize> count * 4, whole = x + (<usize> count & ~3) * 4;
  let p = x;
  for (; p < whole; p += 16) m = f32x4.pmax(m, v128.load(p));
  let best = max4(m);
  for (; p < end; p += 4) if (load<f32>(p) > best) best = load<f32>(p);
  const b = f32x4.splat(best);
  for (p = x; p < whole && !v128.any_true(f32x4.eq(v128.load(p), b)); p += 16) {}
  for (; p < end; p += 4) if (load<f32>(p) == best) return <u32> ((p - x) >> 2);
  return 0;
}

/** Σ e^((x − shift) · factor). */
export function expSum(x: usize, count: u32, shift: f32, factor: f32): f64 {
  const s = f32x4.splat(shift), f = f32x4.splat(factor), whole = x + (<usize> count & ~3) * 4;
  const end = x + <usize> count * 4;
  let total: f64 = 0;
  while (x < whole) {
    // Partial sums in float32 stay short.
    const stop = min(whole, x + 4096);
    let t = f32x4.splat(0);
    for (; x < stop; x += 16) t = f32x4.add(t, exponent(v128.load(x), s, f));
    total += <f64> f32x4.extract_lane(t, 0) + <f64> f32x4.extract_lane(t, 1) +
      <f64> f32x4.extract_lane(t, 2) + <f64> f32x4.extract_lane(t, 3);
  }
  for (; x < end; x += 4) total += <f64> f32x4.extract_lane(exponent(v128.load32_splat(x), s, f), 0);
  return total;
}

/** e^((x − shift) · factor), zero far below (`exp4` would clamp). */
@inline
function exponent(x: v128, shift: v128, factor: v128): v128 {
  const z = f32x4.mul(f32x4.sub(x, shift), factor);
  return v128.and(exp4(z), f32x4.gt(z, f32x4.splat(-87)));
}

/** Writes the indices of numbers ≥ limit, ascending, at most `capacity` of them; returns how many there are. */
export function collect(x: usize, count: u32, limit: f32, to: usize, capacity: u32): u32 {
  const l = f32x4.splat(limit);
  let found: u32 = 0;
  for (let i: u32 = 0; i < count;) {
    if (i + 4 <= count && !v128.any_true(f32x4.ge(v128.load(x + <usize> i * 4), l))) {
      i += 4;
      continue;
    }
    const stop = min(count, i + 4);
    for (; i < stop; i++) {
      if (!(load<f32>(x + <usize> i * 4) >= limit)) continue;
      if (found < capacity) store<u32>(to + <usize> found * 4, i);
      found++;
    }
  }
  return found;
}

/** The mixing function of `../../reference/random.ts`, four at a time. */
@inline
function mix(x: v128): v128 {
  x = v128.xor(x, i32x4.shr_u(x, 16));
  x = i32x4.mul(x, i32x4.splat(0x7feb352d));
  x = v128.xor(x, i32x4.shr_u(x, 15));
  x = i32x4.mul(x, i32x4.splat(0x846ca68b));
  return v128.xor(x, i32x4.shr_u(x, 16));
}

/** Natural logarithm of positive numbers to about 1e-6 (coefficients of Cephes' logf, Moshier 1992). */
function log4(x: v128): v128 {
  const bits = i32x4.sub(x, i32x4.splat(0x3f3504f3));
  const e = f32x4.convert_i32x4_s(i32x4.shr_s(bits, 23));
  const m = f32x4.sub(
    i32x4.add(v128.and(bits, i32x4.splat(0x007fffff)), i32x4.splat(0x3f3504f3)),
    f32x4.splat(1),
  );
  let p = f32x4.splat(7.0376836292e-2);
  p = f32x4.add(f32x4.mul(p, m), f32x4.splat(-1.1514610310e-1));
  p = f32x4.add(f32x4.mul(p, m), f32x4.splat(1.1676998740e-1));
  p = f32x4.add(f32x4.mul(p, m), f32x4.splat(-1.2420140846e-1));
  p = f32x4.add(f32x4.mul(p, m), f32x4.splat(1.4249322787e-1));
  p = f32x4.add(f32x4.mul(p, m), f32x4.splat(-1.6668057665e-1));
  p = f32x4.add(f32x4.mul(p, m), f32x4.splat(2.0000714765e-1));
  p = f32x4.add(f32x4.mul(p, m), f32x4.splat(-2.4999993993e-1));
  p = f32x4.add(f32x4.mul(p, m), f32x4.splat(3.3333331174e-1));
  const m2 = f32x4.mul(m, m);
  p = f32x4.sub(f32x4.mul(f32x4.mul(p, m), m2), f32x4.mul(m2, f32x4.splat(0.5)));
  return f32x4.add(f32x4.add(m, p), f32x4.mul(e, f32x4.splat(0.69314718056)));
}

/**
 * noisy = x · factor + Gumbel noise of the hash of (key, index), written to `noisy`; −∞ where x < limit. Returns
 * the largest. `noisy` has room for `count` rounded up to 4; x is read that far. The error is below 1e-4 wherever
 * it matters: see `../sampling.ts`.
 */
export function noisyMaximum(x: usize, count: u32, factor: f32, limit: f32, key: u32, noisy: usize): f32 {
  const f = f32x4.splat(factor), l = f32x4.splat(limit), k = i32x4.splat(key), none = f32x4.splat(-Infinity);
  let index = i32x4(0, 1, 2, 3), m = none;
  for (let i: u32 = 0; i < count; i += 4) {
    const v = v128.load(x + <usize> i * 4);
    let y = none;
    if (v128.any_true(f32x4.ge(v, l))) {
      const h = mix(v128.xor(index, k));
      // u = (h + ½) / 2³²; E = −log(1 − u), by its series where u is small: 1 − u would round to 1.
      const u = f32x4.mul(f32x4.add(f32x4.convert_i32x4_u(h), f32x4.splat(0.5)), f32x4.splat(2.3283064365386963e-10));
      const series = f32x4.mul(
        u,
        f32x4.add(
          f32x4.splat(1),
          f32x4.mul(u, f32x4.add(f32x4.splat(0.5), f32x4.mul(u, f32x4.splat(0.33333334)))),
        ),
      );
      // 1 − u from the complement of the hash, exact where u is near 1.
      const rest = f32x4.mul(
        f32x4.add(f32x4.convert_i32x4_u(v128.not(h)), f32x4.splat(0.5)), f32x4.splat(2.3283064365386963e-10),
      );
      const e = v128.bitselect(series, f32x4.neg(log4(rest)), f32x4.lt(u, f32x4.splat(0.01)));
      y = v128.bitselect(f32x4.sub(f32x4.mul(v, f), log4(e)), none, f32x4.ge(v, l));
    }
    v128.store(noisy + <usize> i * 4, y);
    if (i + 4 > count) break;
    m = f32x4.pmax(m, y);
    index = i32x4.add(index, i32x4.splat(4));
  }
  let best = max4(m);
  for (let i = count & ~3; i < count; i++) best = max(best, load<f32>(noisy + <usize> i * 4));
  return best;
}
