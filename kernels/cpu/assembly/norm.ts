// Root-mean-square norm (Zhang & Sennrich 2019, arXiv 1910.07467), per-head norm and rotary positions (Su et al.
// 2021, arXiv 2104.09864), and the store of keys and values into their pages.

import { claim, real, word } from "./program";
import { madd, sum4 } from "./vector";

/** 1 / sqrt(mean(x²) + epsilon) of `count` numbers, a multiple of 8. */
export function rmsScale(x: usize, count: usize, epsilon: f32): f32 {
  let a = f32x4.splat(0), b = f32x4.splat(0);
  const end = x + count * 4;
  for (; x < end; x += 32) {
    const u = v128.load(x), v = v128.load(x, 16);
    a = madd(u, u, a), b = madd(v, v, b);
  }
  return 1 / sqrt<f32>(sum4(f32x4.add(a, b)) / <f32> count + epsilon);
}

/** Norm (if `norm`) and rotation of one head, in place; `half` a multiple of 4. */
function rotate(x: usize, half: usize, cosine: usize, sine: usize, norm: usize, epsilon: f32): void {
  const bytes = half * 4;
  if (norm) {
    const scale = f32x4.splat(rmsScale(x, 2 * half, epsilon));
    for (let i: usize = 0; i < 2 * bytes; i += 16) {
      v128.store(x + i, f32x4.mul(f32x4.mul(v128.load(x + i), scale), v128.load(norm + i)));
    }
  }
  for (let i: usize = 0; i < bytes; i += 16) {
    const c = v128.load(cosine + i), s = v128.load(sine + i);
    const a = v128.load(x + i), b = v128.load(x + bytes + i);
    v128.store(x + i, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)));
    v128.store(x + bytes + i, f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s)));
  }
}

/**
 * Norms and rotates q and k of every token and stores k and v. A page holds per kv head the keys transposed,
 * [headDim][page size], so that eight keys are a vector pair of the score kernel, and the values as rows,
 * [page size][headDim]. A unit is one token and one head of [q | k | v].
 *
 * Words: 2 qkv, 3 stride, 4 token count, 5 heads, 6 kv heads, 7 head dimension, 8 token rows, 9 token positions,
 * 10 cosine, 11 sine, 12 q norm, 13 q epsilon, 14 k norm, 15 k epsilon, 16 keys, 17 values, 18 page table,
 * 19 pages per row, 20 log2 of the page size.
 */
export function ropeStore(op: usize): void {
  const heads = word(op, 5), kvHeads = word(op, 6), dim = word(op, 7), half = dim >> 1;
  const all = heads + 2 * kvHeads, tokens = word(op, 4), shift = word(op, 20), size = 1 << shift;
  const bytes = dim * 4;
  // Claims of whole tokens keep the atomic counter quiet when there are many.
  const group = tokens >= 64 ? all : 1;
  for (let unit = claim(op, group); unit < tokens * all; unit = claim(op, group)) {
    for (let u = unit; u < unit + group; u++) {
      const t = u / all, h = u % all;
      const position = load<usize>(word(op, 9) + t * 4);
      const x: usize = word(op, 2) + word(op, 3) * t + bytes * h;
      const angle = position * half * 4;
      if (h < heads) {
        rotate(x, half, word(op, 10) + angle, word(op, 11) + angle, word(op, 12), real(op, 13));
        continue;
      }
      const row = load<usize>(word(op, 8) + t * 4);
      const page = load<usize>(word(op, 18) + (row * word(op, 19) + (position >> shift)) * 4);
      const slot = position & (size - 1);
      const isKey = h < heads + kvHeads;
      const kvHead = isKey ? h - heads : h - heads - kvHeads;
      const block = (page * kvHeads + kvHead) * bytes << shift;
      if (isKey) {
        rotate(x, half, word(op, 10) + angle, word(op, 11) + angle, word(op, 14), real(op, 15));
        let to: usize = word(op, 16) + block + (slot << 2);
        for (let i: usize = 0; i < bytes; i += 4, to += size << 2) store<f32>(to, load<f32>(x + i));
      } else {
        memory.copy(word(op, 17) + block + bytes * slot, x, bytes);
      }
    }
  }
}
