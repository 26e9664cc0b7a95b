// Matrix products: y = x · Wᵀ with the norm before and the epilogue behind it.
//
// Weights lie in panels of 32 output rows (see `../matrix.ts`), which a weight format lays out as it likes: a file in
// `formats/`. Activations are packed four tokens at a time, as the format wants them; a rest of one or two tokens
// makes a narrower panel, a rest of three is filled up with zeros. A unit of work is one weight panel times all
// tokens; sums stand in the thread's scratch, [tokens][32]. So every weight is read once from memory, and for many
// tokens again from the second-level cache.

import { packInput, panelBytes, product, productRoom } from "../formats";
import { Epilogue, Product } from "../operations";
import { claim } from "./program";
import { clear, exp4, madd, softCap } from "./vector";

/** Bytes before token `token` of packed inputs: each panel stands where its tokens would as float32. */
@inline
export function packedOffset(token: usize, columns: usize): usize {
  return token * columns * 4;
}

/** Packs tokens first … first + count − 1 to `to`, panel by panel. */
@inline
export function packTokens(op: Product, first: usize, count: usize, to: usize): void {
  for (let t: usize = 0; t < count; t += 4) {
    packInput(op.format, to + packedOffset(t, op.columns), op, first + t, min(4, count - t));
  }
}

/** Packs the input; a unit is a panel of four tokens. */
export function pack(op: Product): void {
  for (let t = claim(op, 1) * 4; t < op.tokens; t = claim(op, 1) * 4) {
    packTokens(op, t, min(4, op.tokens - t), op.packed + packedOffset(t, op.columns));
  }
}

/** One product. */
export function linear(op: Product, thread: i32): void {
  const scratch = op.scratch + thread * op.scratchBytes, sums = scratch + op.packRoom * 4;
  const room = scratch + op.scratchBytes - productRoom;
  let packed = op.packed;
  for (let p = claim(op, op.claimPanels); p < op.panels; p = claim(op, op.claimPanels)) {
    if (!packed) {
      packed = scratch;
      packTokens(op, 0, op.tokens, packed);
    }
    for (const end = min(op.panels, p + op.claimPanels); p < end; p++) {
      panelProduct(op, packed, op.tokens, op.weights, op.bias, p, sums, room);
      epilogue(op, p, sums, op.output, op.tokens);
    }
  }
}

/** sums[t, 0 … 31] = bias + Σ_k x[t, k] · W[panel · 32 + …, k] for packed x. */
export function panelProduct(
  op: Product, packed: usize, tokens: usize, weights: usize, bias: usize, panel: usize, sums: usize, room: usize,
): void {
  const padded = (tokens & 3) == 3 ? tokens + 1 : tokens, from = bias + panel * 128;
  for (let row = sums, end = sums + padded * 128; row < end; row += 128) {
    if (bias) for (let i: usize = 0; i < 128; i += 16) v128.store(row + i, v128.load(from + i));
    else clear(row, 128);
  }
  product(op.format, packed, padded, op.columns, weights + panel * panelBytes(op.format, op.columns), sums, room);
}

/** gate(g, u), see `Gate` in `ops.ts`. */
@inline
function gateMul(op: Product, gate: v128, up: v128): v128 {
  const limit = f32x4.splat(op.limit);
  const g = f32x4.pmin(gate, limit), u = f32x4.pmax(f32x4.neg(limit), f32x4.pmin(up, limit));
  const e = exp4(f32x4.neg(f32x4.mul(g, madd(f32x4.mul(g, g), f32x4.splat(op.beta), f32x4.splat(op.alpha)))));
  return f32x4.mul(f32x4.div(g, f32x4.add(f32x4.splat(1), e)), f32x4.add(u, f32x4.splat(op.plus)));
}

/** Brings a panel's sums to `output`. */
export function epilogue(op: Product, panel: usize, sums: usize, output: usize, tokens: usize): void {
  const width: usize = op.epilogue == Epilogue.gateMul ? 16 : 32;
  const first = panel * width, bytes = min(width, op.results - first) * 4, whole = bytes & ~15;
  for (let t: usize = 0; t < tokens; t++) {
    const row = sums + t * 128, y = output + op.outputStride * t + first * 4;
    if (op.epilogue == Epilogue.gateMul) {
      for (let i: usize = 0; i < 64; i += 16) {
        v128.store(row + i, gateMul(op, v128.load(row + i), v128.load(row + i, 64)));
      }
    } else if (op.epilogue == Epilogue.cap) {
      for (let i: usize = 0; i < 128; i += 16) v128.store(row + i, softCap(v128.load(row + i), op.limit));
    } else if (op.epilogue == Epilogue.add) {
      for (let i: usize = 0; i < bytes; i += 4) store<f32>(row + i, load<f32>(row + i) + load<f32>(y + i));
    }
    for (let i: usize = 0; i < whole; i += 16) v128.store(y + i, v128.load(row + i));
    for (let i: usize = whole; i < bytes; i += 4) store<f32>(y + i, load<f32>(row + i));
  }
}
