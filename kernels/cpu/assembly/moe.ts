// Mixture of experts: routing, grouping of (token, choice) pairs by expert, products per group, weighted sum.
//
// Pairs are sorted by expert (a counting sort; the order within an expert is that of the tokens), so that an
// expert's tokens stand side by side and its weights are read once. A pair's place in that order is its slot;
// packed inputs, gated activations and results are indexed by slot.

import { epilogue, packedOffset, packPanel, panelProduct } from "./linear";
import { claim, real, word } from "./program";
import { clear, madd } from "./vector";

/**
 * Softmax over the router's logits and the largest few of them, per token; lowest index on a tie.
 * Words: 2 logits (overwritten), 3 experts, 4 tokens, 5 choices per token, 6 renormalize, 7 experts chosen,
 * 8 their weights.
 */
export function route(op: usize): void {
  const experts = word(op, 3), tokens = word(op, 4), choices = word(op, 5);
  for (let t = claim(op, 1); t < tokens; t = claim(op, 1)) {
    const logits: usize = word(op, 2) + t * experts * 4;
    const chosen: usize = word(op, 7) + t * choices * 4;
    const weights: usize = word(op, 8) + t * choices * 4;
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
    const scale = <f32> (1 / (word(op, 6) ? share : total));
    for (let c: usize = 0; c < choices; c++) store<f32>(weights + c * 4, load<f32>(weights + c * 4) * scale);
  }
}

/**
 * Sorts the pairs. Words: 2 experts chosen, 3 pairs, 4 experts, 5 choices per token, 6 slot of each pair (out),
 * 7 token of each slot (out), 8 groups (out): their number, then (expert, first slot, slots) of each; 9 counts,
 * one word per expert.
 */
export function groupTokens(op: usize): void {
  if (claim(op, 1) != 0) return;
  const chosen: usize = word(op, 2), pairs = word(op, 3), experts = word(op, 4), counts: usize = word(op, 9);
  memory.fill(counts, 0, experts * 4);
  for (let i: usize = 0; i < pairs; i++) {
    const at = counts + (load<usize>(chosen + i * 4) << 2);
    store<usize>(at, load<usize>(at) + 1);
  }
  let slot: usize = 0, group: usize = word(op, 8) + 4;
  for (let e: usize = 0; e < experts; e++) {
    const n = load<usize>(counts + e * 4);
    store<usize>(counts + e * 4, slot);
    if (n == 0) continue;
    store<usize>(group, e), store<usize>(group, slot, 4), store<usize>(group, n, 8);
    group += 12;
    slot += n;
  }
  store<usize>(word(op, 8), ((group - word(op, 8) - 4) / 12));
  for (let i: usize = 0; i < pairs; i++) {
    const at = counts + (load<usize>(chosen + i * 4) << 2);
    const s = load<usize>(at);
    store<usize>(at, s + 1);
    store<usize>(word(op, 6) + i * 4, s);
    store<usize>(word(op, 7) + (s << 2), i / word(op, 5));
  }
}

/**
 * Packs each group's inputs. Words 2 x, 3 stride, 4 token of each slot (0: the slot itself), 5 groups, 6 k,
 * 7 norm, 8 epsilon, 9 to: a group stands at its first slot · (k + room for filling up), 11 dtype of the weights.
 */
export function expertPack(op: usize): void {
  const groups: usize = word(op, 5), k = word(op, 6), count = load<usize>(groups);
  for (let g = claim(op, 1); g < count; g = claim(op, 1)) {
    const group = groups + 4 + g * 12, first = load<usize>(group, 4), slots = load<usize>(group, 8);
    const to = word(op, 9) + packedOffset(groupPlace(first, g), k);
    for (let s: usize = 0; s < slots; s += 4) {
      const at = to + packedOffset(s, k), n = min(4, slots - s);
      const norm = word(op, 7), dtype = word(op, 11);
      packPanel(at, word(op, 2), word(op, 3), word(op, 4), first + s, n, k, norm, real(op, 8), dtype);
    }
  }
}

/** A group of 3 (mod 4) slots is filled up by one: leave room for one more per group before it. */
@inline
function groupPlace(firstSlot: usize, group: usize): usize {
  return firstSlot + group;
}

/**
 * Products of every group with its expert's matrix; words as for `linear`, but 5 the groups and 21 the bytes of
 * one expert's panels. Results stand at their slots.
 */
export function expertLinear(op: usize, thread: i32): void {
  const groups: usize = word(op, 5), k = word(op, 6), panels = word(op, 12);
  const units = load<usize>(groups) * panels;
  const sums: usize = word(op, 18) + thread * word(op, 19);
  for (let u = claim(op, 1); u < units; u = claim(op, 1)) {
    const g = u / panels, panel = u % panels, group = groups + 4 + g * 12;
    const first = load<usize>(group, 4), slots = load<usize>(group, 8);
    const packed = word(op, 9) + packedOffset(groupPlace(first, g), k);
    const weights: usize = word(op, 10) + load<usize>(group) * word(op, 21);
    panelProduct(packed, slots, k, weights, word(op, 11), panel, 0, sums);
    epilogue(op, panel, sums, word(op, 15) + word(op, 16) * first, slots);
  }
}

/**
 * output (+)= Σ of the choices' results times their weights, in the order of choice.
 * Words: 2 results by slot, 3 width, 4 tokens, 5 choices, 6 slot of each pair, 7 weights, 8 output, 9 output
 * stride, 10 add.
 */
export function combine(op: usize): void {
  const bytes = word(op, 3) * 4, tokens = word(op, 4), choices = word(op, 5);
  for (let t = claim(op, 1); t < tokens; t = claim(op, 1)) {
    const y: usize = word(op, 8) + word(op, 9) * t;
    if (!word(op, 10)) clear(y, bytes);
    for (let c: usize = 0; c < choices; c++) {
      const pair = (t * choices + c) << 2;
      const x: usize = word(op, 2) + bytes * load<usize>(word(op, 6) + pair);
      const w = f32x4.splat(load<f32>(word(op, 7) + pair));
      for (let i: usize = 0; i < bytes; i += 16) v128.store(y + i, madd(w, v128.load(x + i), v128.load(y + i)));
    }
  }
}
