// Random numbers for sampling: a pure function of (seed, position, token), the same bits on every backend.
//
// Sampling uses the Gumbel-max trick (Gumbel 1954): adding independent Gumbel noise −log(E), E ~ Exp(1), to the
// scaled logits and taking the argmax draws exactly from the softmax. Noise that is counter-based rather than
// drawn from a stream (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11) needs no state and no
// order, so a request's text does not depend on what it is batched with, and an argmax is all a kernel must do.

/** A 32-bit mixing function with low bias (constants found by C. Wellons' hash prospector). */
function mix(x: number): number {
  x ^= x >>> 16;
  x = Math.imul(x, 0x7feb352d);
  x ^= x >>> 15;
  x = Math.imul(x, 0x846ca68b);
  x ^= x >>> 16;
  return x >>> 0;
}

/** The part of the hash that all tokens of a draw share. */
export function hashKey(seedLow: number, seedHigh: number, position: number): number {
  return mix(seedLow ^ mix(seedHigh ^ mix((position + 0x9e3779b9) >>> 0)));
}

/** Uniform 32-bit hash of the counter; integer operations only, modulo 2³². */
export function hash(seedLow: number, seedHigh: number, position: number, token: number): number {
  return mix(token ^ hashKey(seedLow, seedHigh, position));
}

/**
 * Gumbel noise −log(E) from a hash. u = (h + ½) / 2³² is uniform in (0, 1) and E = −log(1 − u); for small u the
 * series keeps float32 precise where the likeliest winners are.
 */
export function gumbel(h: number): number {
  const u = (h + 0.5) / 4294967296;
  const exponential = u < 0.01 ? u * (1 + u * (0.5 + u / 3)) : -Math.log(1 - u);
  return -Math.log(exponential);
}
