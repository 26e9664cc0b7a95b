// Mixture of experts: routing, grouping of (token, choice) pairs by expert, products per group, weighted sum.
//
// Pairs are sorted by expert (a counting sort; the order within an expert is that of the tokens), so that an
// expert's tokens stand side by side and its weights are read once. A pair's place in that order is its slot;
// packed inputs, gated activations and results are indexed by slot.

import { Combine, Product, Routing } from "../operations";
import { productRoom } from "../formats";
import { epilogue, packedOffset, packTokens, panelProduct } from "./linear";
import { claim } from "./program";
import { clear, madd } from "./vector";

/** Softmax over the router's logits and the largest few of them, per token; lowest index on a tie. */
export function route(op: Routing): void {
  const experts = op.experts, choices = op.choices;
  for (let t = claim(op, 1); t < op.tokens; t = claim(op, 1)) {
    const logits = op.logits + t * experts * 4;
    const chosen = op.chosen + t * choices * 4, weights = op.weights + t * choices * 4;
    let maximum: f32 = -Infinity;
    for (let e: usize = 0; e < experts; e++) maximum = max(maximum, load<f32>(logits + e * 4));
    let total: f64 = 0, share: f64 = 0;
    for (let e: usize = 0; e < experts; e++) total += Math.exp(<f64> (load<f32>(logits + e * 4) - maximum));
    for (let c: usize = 0; c < choices; c++) {
      let best: usize = 0, value: f32 = -Infinity;
      for (let e: usize = 0; e < experts; e++) {
        const v = load<f32>(logits + e * 4);
        if (v > value) best = e, value = v;
      }
      const p = Math.exp(<f64> (value - maximum));
      store<f32>(logits + best * 4, -Infinity);
      store<usize>(chosen + c * 4, best);
      store<f32>(weights + c * 4, <f32> p);
      share += p;
    }
    const scale = <f32> (1 / (op.renormalize ? share : total));
    for (let c: usize = 0; c < choices; c++) store<f32>(weights + c * 4, load<f32>(weights + c * 4) * scale);
  }
}

/** Sorts the pairs; one unit. */
export function groupTokens(op: Routing): void {
  if (claim(op, 1) != 0) return;
  const pairs = op.tokens * op.choices;
  memory.fill(op.counts, 0, op.experts * 4);
  for (let i: usize = 0; i < pairs; i++) {
    const at = op.counts + (load<usize>(op.chosen + i * 4) << 2);
    store<usize>(at, load<usize>(at) + 1);
  }
  let slot: usize = 0, group = op.groups + 4;
  for (let e: usize = 0; e < op.experts; e++) {
    const n = load<usize>(op.counts + e * 4);
    store<usize>(op.counts + e * 4, slot);
    if (n == 0) continue;
    store<usize>(group, e), store<usize>(group, slot, 4), store<usize>(group, n, 8);
    group += 12;
    slot += n;
  }
  store<usize>(op.groups, (group - op.groups - 4) / 12);
  for (let i: usize = 0; i < pairs; i++) {
    const at = op.counts + (load<usize>(op.chosen + i * 4) << 2), s = load<usize>(at);
    store<usize>(at, s + 1);
    store<usize>(op.slots + i * 4, s);
    store<usize>(op.slotTokens + s * 4, i / op.choices);
  }
}

/** Where the packed input of group `g` stands: three (mod 4) slots are filled up, so there is room for one more. */
@inline
function packedGroup(op: Product, firstSlot: usize, g: usize): usize {
  return op.packed + packedOffset(firstSlot + g, op.columns);
}

/** Packs each group's inputs. */
export function expertPack(op: Product): void {
  const count = load<usize>(op.groups);
  for (let g = claim(op, 1); g < count; g = claim(op, 1)) {
    const group = op.groups + 4 + g * 12, first = load<usize>(group, 4);
    packTokens(op, first, load<usize>(group, 8), packedGroup(op, first, g));
  }
}

/** Products of every group with its expert's matrix; results stand at their slots. */
export function expertLinear(op: Product, thread: i32): void {
  const units = load<usize>(op.groups) * op.panels, sums = op.scratch + thread * op.scratchBytes;
  const room = sums + op.scratchBytes - productRoom;
  for (let u = claim(op, 1); u < units; u = claim(op, 1)) {
    const g = u / op.panels, panel = u % op.panels, group = op.groups + 4 + g * 12;
    const first = load<usize>(group, 4), slots = load<usize>(group, 8);
    const expert = load<usize>(group), weights = op.weights + expert * op.expertBytes;
    const bias = op.bias ? op.bias + expert * op.panels * 128 : 0;
    panelProduct(op, packedGroup(op, first, g), slots, weights, bias, panel, sums, room);
    epilogue(op, panel, sums, op.output + op.outputStride * first, slots);
  }
}

/** output (+)= Σ of the choices' results times their weights, in the order of choice. */
export function combine(op: Combine): void {
  const bytes = op.width * 4;
  for (let t = claim(op, 1); t < op.tokens; t = claim(op, 1)) {
    const y = op.output + op.outputStride * t;
    if (!op.add) clear(y, bytes);
    for (let c: usize = 0; c < op.choices; c++) {
      const pair = (t * op.choices + c) << 2;
      const x = op.results + bytes * load<usize>(op.slots + pair);
      const w = f32x4.splat(load<f32>(op.weights + pair));
      for (let i: usize = 0; i < bytes; i += 16) v128.store(y + i, madd(w, v128.load(x + i), v128.load(y + i)));
    }
  }
}
