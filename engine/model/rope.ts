// Tables of rotary angles (Su et al. 2021, arXiv 2104.09864) with the scalings for longer contexts: linear
// interpolation (arXiv 2306.15595), dynamic NTK, Llama 3's by wavelength, YaRN's by parts (arXiv 2309.00071), and
// LongRoPE's searched divisors (arXiv 2402.13753).
//
// A scaling only changes the frequency of each pair of head dimensions (and YaRN the length of the rotated
// vectors), so every kind ends as one pair of cosine and sine tables. Angles are computed in float64.

import type { RopeConfig } from "./config.ts";

/** Cosine and sine, [positions, half] each, with the attention factor multiplied in. */
export interface RopeTables {
  /** [positions, half], with any attention factor multiplied in. */
  readonly cosine: Float32Array;
  /** [positions, half], with any attention factor multiplied in. */
  readonly sine: Float32Array;
  /** Pairs that turn: half of a head's width. */
  readonly half: number;
}

/**
 * Tables for positions 0 … positions − 1 of heads of `headDim`, whose first `rotaryDim` numbers turn; without a `rope`,
 * none do. Pair i is (i, i + headDim / 2): loading brings the numbers that turn together there.
 */
export function ropeTables(
  rope: RopeConfig | null,
  { headDim, rotaryDim }: { readonly headDim: number; readonly rotaryDim: number },
  positions: number,
): RopeTables {
  const half = headDim / 2, turning = rope === null ? 0 : rotaryDim / 2;
  const frequencies = rope === null ? [] : ropeFrequencies(rope, rotaryDim, positions);
  const factor = rope !== null && "attentionFactor" in rope ? rope.attentionFactor : 1;
  const cosine = new Float32Array(positions * half).fill(1);
  const sine = new Float32Array(positions * half);
  for (let p = 0; p < positions; p++) {
    for (let i = 0; i < turning; i++) {
      const angle = p * frequencies[i]!;
      cosine[p * half + i] = Math.cos(angle) * factor;
      sine[p * half + i] = Math.sin(angle) * factor;
    }
  }
  return { cosine, sine, half };
}

/** Radians per position of each of the `headDim` / 2 pairs. `positions` is the context length (dynamic NTK). */
export function ropeFrequencies(rope: RopeConfig, headDim: number, positions: number): Float64Array {
  const plain = powers(rope.theta, headDim);
  switch (rope.type) {
    case "default":
      return plain;
    case "linear":
      return plain.map((f) => f / rope.factor);
    case "factors":
      return plain.map((f, i) => f / rope.factors[i]!);
    case "longrope": {
      // One table serves a whole run, as below.
      const factors = positions > rope.originalPositions ? rope.long : rope.short;
      return plain.map((f, i) => f / factors[i]!);
    }
    case "dynamic": {
      // The base grows with the context. One table serves a whole run, so it is the run's context that counts:
      // up to the original length nothing changes.
      const length = Math.max(positions, rope.originalPositions);
      const stretch = rope.factor * length / rope.originalPositions - (rope.factor - 1);
      return powers(rope.theta * stretch ** (headDim / (headDim - 2)), headDim);
    }
    case "llama3": {
      const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalPositions } = rope;
      return plain.map((f) => {
        const turns = originalPositions * f / (2 * Math.PI);
        const keep = Math.min(1, Math.max(0, (turns - low) / (high - low)));
        return (1 - keep) * f / factor + keep * f;
      });
    }
    case "yarn": {
      const [low, high] = yarnRange(rope, headDim);
      return plain.map((f, i) => {
        const ramp = Math.min(1, Math.max(0, (i - low) / (high - low)));
        return f / rope.factor * ramp + f * (1 - ramp);
      });
    }
  }
}

function powers(theta: number, headDim: number): Float64Array {
  return Float64Array.from({ length: headDim / 2 }, (_, i) => theta ** (-2 * i / headDim));
}

/** Pairs below the first turn more than betaFast times within the original context, above the second less than betaSlow. */
function yarnRange(rope: RopeConfig & { type: "yarn" }, headDim: number): [number, number] {
  const pairWithTurns = (turns: number) =>
    headDim * Math.log(rope.originalPositions / (turns * 2 * Math.PI)) / (2 * Math.log(rope.theta));
  let low = pairWithTurns(rope.betaFast);
  let high = pairWithTurns(rope.betaSlow);
  if (rope.truncate) {
    low = Math.floor(low);
    high = Math.ceil(high);
  }
  low = Math.max(low, 0);
  high = Math.min(high, headDim - 1);
  return low === high ? [low, high + 0.001] : [low, high];
}
