// Which kernels compute a product, for a number of activation rows and a device: matrix–vector kernels up to eight
// rows, tiled products beyond, with the sum divided where the grid would leave the device idle.

import { gemmTile, matvecTile } from "./divide.ts";
import { gemmCall } from "./gemm.ts";
import type { GemmInput, GemmTile } from "./gemm_tile.ts";
import type { LinearPlan, LinearShape, PlanLinear } from "./linear.ts";
import { matvecCall } from "./matvec.ts";
import { normCall } from "./norm.ts";
import { reduceCall } from "./reduce.ts";

/** Most activation rows of a matrix–vector kernel. */
const MATVEC_TOKENS = 8;

/** The kernels that compute `shape` for `tokens` activation rows on a device. */
export const planLinear: PlanLinear = (shape, tokens, caps): LinearPlan => {
  if (tokens <= MATVEC_TOKENS) {
    return { calls: [matvecCall(shape, matvecTile(shape, tokens, caps))], scratchA: 0, scratchB: 0 };
  }
  return planGemm(shape, tokens, gemmTile(shape, tokens, caps));
};

/**
 * Beyond this many activation rows, normalising once in a kernel of its own beats doing it in every tile; unless the
 * sum is divided, because the kernel that adds up its parts normalises for nothing.
 */
const FUSED_NORM_TOKENS = 64;

/** A tiled product with the norm before it and the sum of its parts after it, as needed. */
export function planGemm(shape: LinearShape, tokens: number, tile: GemmTile): LinearPlan {
  const half = tile.arithmetic === "f16";
  const separate = shape.normEpsilon !== null && tokens > FUSED_NORM_TOKENS && tile.split === 1;
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
  if (tile.split > 1) calls.push(reduceCall(shape, tokens, tile.split));
  return {
    calls,
    scratchA: separate ? tokens * shape.columns * (half ? 2 : 4) : 0,
    scratchB: tile.split > 1 ? tile.split * tokens * shape.rows * 4 : 0,
  };
}
