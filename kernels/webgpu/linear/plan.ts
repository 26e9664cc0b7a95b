// Which kernels compute a product, for a number of activation rows and a device: matrix–vector kernels up to eight
// rows (one of its own for one row and weights of four and six bits), tiled products beyond, with the sum divided where
// the grid would leave the device idle.

import { type DeviceCaps, elementBytes, type ElementType } from "../shader/kernel.ts";
import { gemmTile, matvecTile } from "./divide.ts";
import { gemmCall } from "./gemm.ts";
import type { GemmInput, GemmTile } from "./gemm_tile.ts";
import { isScaled, type LinearPlan, type LinearShape, noScratch, type Preparation } from "./linear.ts";
import { matvecCall } from "./matvec.ts";
import { prepareCall } from "./prepare.ts";
import { canPrepareNext, reduceCall } from "./reduce.ts";
import { outputWidth } from "./finish.ts";
import { singleCall, singleTile } from "./single.ts";

/** Most activation rows of a matrix–vector kernel. */
export const mostMatvecTokens = 8;

/** The kernels that compute `shape` for `tokens` activation rows on a device. */
export function planLinear(shape: LinearShape, tokens: number, caps: DeviceCaps): LinearPlan {
  if (tokens > mostMatvecTokens) return planGemm(shape, tokens, gemmTile(shape, tokens, caps));
  const single = tokens === 1 ? singleTile(shape, caps) : null;
  const call = single !== null
    ? singleCall(shape, single)
    : matvecCall(shape, matvecTile(shape, tokens, caps));
  return { calls: [call], scratch: noScratch };
}

/** How a product wants its input prepared; null where it takes it as it is. */
export function preparation(shape: LinearShape, tokens: number, caps: DeviceCaps): Preparation | null {
  return tokens <= mostMatvecTokens ? null : tilePreparation(shape, gemmTile(shape, tokens, caps));
}

/** How a product leaves the input of `next` prepared; null where it does not. */
export function nextPreparation(
  shape: LinearShape,
  next: LinearShape,
  tokens: number,
  caps: DeviceCaps,
): Preparation | null {
  if (tokens <= mostMatvecTokens || gemmTile(shape, tokens, caps).split === 1 || !canPrepareNext(shape)) {
    return null;
  }
  return preparation(next, tokens, caps);
}

/** What a tile of a product wants. */
function tilePreparation({ normEpsilon, input }: LinearShape, { arithmetic }: GemmTile): Preparation | null {
  const wide = arithmetic === "f16" && input === "f32";
  return normEpsilon !== null || wide ? { normEpsilon, type: arithmetic } : null;
}

/** A tiled product with the preparation before it and the sum of its parts after it, as needed. */
export function planGemm(shape: LinearShape, tokens: number, tile: GemmTile): LinearPlan {
  const wanted = tilePreparation(shape, tile);
  const input: GemmInput = wanted === null
    ? { role: "input", type: shape.input, scaled: false }
    : { role: "prepared", type: wanted.type, scaled: isScaled(wanted) };
  const own = wanted !== null && !shape.prepared ? [prepareCall(shape, tokens, wanted)] : [];
  const calls = [...own, gemmCall(shape, tokens, tile, input)];
  const next = shape.next ?? null;
  if (tile.split > 1) calls.push(reduceCall(shape, tokens, tile.split, next));
  const width = outputWidth(shape);
  const bytes = (columns: number, type: ElementType) => tokens * columns * elementBytes(type);
  return {
    calls,
    scratch: {
      prepared: wanted === null ? 0 : bytes(shape.columns, wanted.type),
      rowScales: 4 * tokens,
      parts: tile.split > 1 ? tile.split * bytes(shape.rows, "f32") : 0,
      nextPrepared: next === null ? 0 : bytes(width, next.type),
    },
  };
}
