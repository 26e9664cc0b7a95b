// Which kernels compute a product, for a number of activation rows and a device: matrix–vector kernels up to eight
// rows, tiled products beyond, with the sum divided where the grid would leave the device idle.

import type { DeviceCaps } from "../kernel.ts";
import { gemmCall, type GemmInput, type GemmTile } from "./gemm.ts";
import type { LinearPlan, LinearShape, PlanLinear } from "./linear.ts";
import { fixedSubgroup, matvecCall, type MatvecTile } from "./matvec.ts";
import { normCall } from "./norm.ts";
import { reduceCall } from "./reduce.ts";
import { outputWidth } from "./wgsl.ts";

/** Most activation rows of a matrix–vector kernel. */
const MATVEC_TOKENS = 8;

/** The kernels that compute `shape` for `tokens` activation rows on a device. */
export const planLinear: PlanLinear = (shape, tokens, caps): LinearPlan => {
  if (tokens <= MATVEC_TOKENS) {
    return { calls: [matvecCall(shape, matvecTile(shape, tokens, caps))], scratchA: 0, scratchB: 0 };
  }
  return planGemm(shape, tokens, gemmTile(shape, tokens, caps));
};

/** From this many activation rows on, normalising once in a kernel of its own beats doing it in every tile. */
const SEPARATE_NORM_TOKENS = 128;

/** A tiled product with the norm before it and the sum of its parts after it, as needed. */
export function planGemm(shape: LinearShape, tokens: number, tile: GemmTile): LinearPlan {
  const half = tile.arithmetic === "f16";
  const separate = shape.normEpsilon !== null && tokens >= SEPARATE_NORM_TOKENS;
  const input: GemmInput = separate
    ? { role: "scratchA", type: tile.arithmetic, scaled: false, norm: "none" }
    : {
      role: "input",
      type: shape.input,
      scaled: half,
      norm: shape.normEpsilon === null ? "none" : tile.split > 1 ? "weight" : "full",
    };
  const calls = [gemmCall(shape, tokens, tile, input)];
  if (separate) calls.unshift(normCall(shape, tokens, tile.arithmetic, shape.columns >= 1024 ? 128 : 32));
  if (tile.split > 1) {
    calls.push(reduceCall(separate ? { ...shape, normEpsilon: null } : shape, tokens, tile.split));
  }
  return {
    calls,
    scratchA: separate ? tokens * shape.columns * (half ? 2 : 4) : 0,
    scratchB: tile.split > 1 ? tile.split * tokens * shape.rows * 4 : 0,
  };
}

/** How to divide a matrix–vector product. */
export function matvecTile(shape: LinearShape, tokens: number, caps: DeviceCaps): MatvecTile {
  const columns = tokens <= 2 ? tokens : tokens <= 4 ? 4 : 8;
  const subgroups = fixedSubgroup(caps);
  const lanes = subgroups ? caps.minSubgroup : 32;
  const width = outputWidth(shape);
  const paired = shape.epilogue === "silu-mul";
  // More rows per lane reuse the activations; fewer keep the device full.
  let units = columns >= 4 || caps.software ? 4 : 2;
  if (paired) units /= 2;
  const teams = caps.software ? 2 : 4;
  while (units > 1 && width / (units * teams) < 2 * caps.parallelism) units /= 2;
  const unroll = caps.software ? 1 : 4;
  return { tokens: columns, sumLanes: lanes, rowLanes: 1, subgroups, units, teams, split: 1, unroll };
}

/** How to divide a product with more activation rows than a matrix–vector kernel takes. */
export function gemmTile(shape: LinearShape, tokens: number, caps: DeviceCaps): GemmTile {
  const half = caps.f16 && !caps.software && shape.dtype !== "f32";
  const arithmetic = half ? "f16" as const : "f32" as const;
  const base = caps.software
    ? { tileTokens: 16, tileRows: 32, step: 16, threadTokens: 4, threadRows: 4 }
    : tokens <= 16
    ? { tileTokens: 16, tileRows: 64, step: 32, threadTokens: 4, threadRows: 2 }
    : tokens <= 32
    ? { tileTokens: 32, tileRows: 64, step: 32, threadTokens: 4, threadRows: 4 }
    : tokens <= 64
    ? { tileTokens: 64, tileRows: 64, step: 32, threadTokens: 8, threadRows: 4 }
    : { tileTokens: 128, tileRows: 64, step: 32, threadTokens: 8, threadRows: 4 };
  const workgroups = Math.ceil(shape.rows / base.tileRows) * Math.ceil(tokens / base.tileTokens);
  const most = Math.max(1, Math.min(8, Math.floor(shape.columns / (base.step * 4))));
  const split = caps.software
    ? 1
    : Math.min(most, Math.max(1, Math.floor(2 * caps.parallelism / workgroups)));
  const lanesX = Math.min(8, base.tileRows / base.threadRows);
  return { ...base, arithmetic, split, lanesX, buffers: 2, slices: 1, unroll: caps.software ? 1 : 4 };
}
