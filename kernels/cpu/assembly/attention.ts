// Causal attention over pages, for prompts and single tokens alike: FlashAttention's online softmax (Dao 2023,
// arXiv 2307.08691) with PagedAttention's tables (Kwon et al. 2023, arXiv 2309.06180).
//
// A unit is one kv head and a run of a sequence's tokens; the query heads that share the kv head are stacked as
// rows, so keys and values are read once for all of them. Keys are taken in blocks of 64 that begin at multiples
// of 64: a row sees the same blocks, hence the same bits, whatever tokens it is computed with. Scores and weighted
// sums use the micro-kernels of `tile.ts`. Nothing beyond the last token of a run is read.

import { claim, real, word } from "./program";
import { tile1F32, tile2F32, tile4F32 } from "./tile";
import { exp4, max4, storeTransposed, sum4 } from "./vector";

const blockKeys: usize = 64;
/** In place of −∞, which would make NaN of (−∞) − (−∞). */
const lowest: f32 = -1e30;

/**
 * Words: 2 qkv, 3 stride, 4 runs (sequence row, first position, first token, tokens), 5 run count, 6 heads,
 * 7 kv heads, 8 head dimension, 9 output, 10 output stride, 11 keys, 12 values, 13 page table, 14 pages per row,
 * 15 log2 of the page size, 16 scale, 17 window (0: none), 18 scratch, 19 scratch bytes per thread, 20 most rows
 * of a unit (a multiple of 4).
 */
export function attention(op: usize, thread: i32): void {
  const kvHeads = word(op, 7), count = word(op, 5) * kvHeads;
  const scratch: usize = word(op, 18) + thread * word(op, 19);
  for (let u = claim(op, 1); u < count; u = claim(op, 1)) {
    // Longest runs first: the end of a prompt sees the most keys.
    const run: usize = word(op, 4) + (word(op, 5) - 1 - u / kvHeads) * 16;
    attend(op, run, u % kvHeads, scratch);
  }
}

/** Bytes of scratch are laid out here and counted in `../forward.ts`. */
function attend(op: usize, run: usize, kvHead: usize, scratch: usize): void {
  const dim = word(op, 8), group = word(op, 6) / word(op, 7), window = word(op, 17), most = word(op, 20);
  const first = load<usize>(run, 4), tokens = load<usize>(run, 12), rows = tokens * group;
  const bytes = dim * 4;
  const queries = scratch, sums = queries + bytes * most;
  const maxima = sums + bytes * most, totals = maxima + most * 4;
  const scores = totals + most * 4, weights = scores + 4 * blockKeys * 4;
  const pointers = weights + 4 * blockKeys * 4, gathered = pointers + 64;

  packQueries(op, run, kvHead, queries, rows);
  memory.fill(sums, 0, bytes * ((rows + 3) & ~3));
  for (let r: usize = 0; r < most; r++) {
    store<f32>(maxima + r * 4, lowest);
    store<f32>(totals + r * 4, 0);
  }
  const last = first + tokens - 1;
  const start = window && first + 1 > window ? first + 1 - window : 0;
  for (let k0 = start & ~(blockKeys - 1); k0 <= last; k0 += blockKeys) {
    const keys = min(blockKeys, last + 1 - k0);
    const keyStride = findKeys(op, load<usize>(run), kvHead, k0, keys, pointers, gathered);
    for (let r: usize = 0; r < rows; r += 4) {
      const width = panelWidth(rows - r);
      const low = first + r / group, high = first + (min(r + 4, rows) - 1) / group;
      if (high < k0 || (window && low >= k0 + keys - 1 + window)) continue;
      const visible = min(keys, high + 1 - k0);
      const q = queries + bytes * r;
      memory.fill(scores, 0, width * blockKeys * 4);
      for (let g: usize = 0; g < (visible + 7) >> 3; g++) {
        const key = load<usize>(pointers + (g << 2));
        tile(width, q, key, keyStride, scores + (g << 5), blockKeys * 4, dim);
      }
      for (let i: usize = 0; i < width; i++) {
        const row = min(r + i, rows - 1);
        const position = first + row / group;
        const from: i32 = window ? <i32> position - <i32> window + 1 - <i32> k0 : 0;
        // A row that only fills the panel up repeats the last one's mask; its sums go nowhere.
        const at = r + i;
        softmax(scores + i * blockKeys * 4, from, <i32> position - <i32> k0, at, maxima, totals, sums, bytes);
      }
      packWeights(weights, scores, width, visible);
      addValues(op, load<usize>(run), kvHead, k0, visible, width, weights, sums + bytes * r);
    }
  }
  writeRows(op, run, kvHead, rows, sums, totals);
}

/** Rows of a panel when `left` rows remain: 4 (three are filled up), 2 or 1. */
@inline
function panelWidth(left: usize): usize {
  return left >= 3 ? 4 : left;
}

@inline
function tile(width: usize, a: usize, b: usize, bStride: usize, c: usize, cStride: usize, k: usize): void {
  if (width == 4) tile4F32(a, b, bStride, c, cStride, k);
  else if (width == 2) tile2F32(a, b, bStride, c, cStride, k);
  else tile1F32(a, b, bStride, c, k);
}

@inline
function queryAt(op: usize, run: usize, kvHead: usize, row: usize): usize {
  const group = word(op, 6) / word(op, 7);
  const token = load<usize>(run, 8) + row / group, head = kvHead * group + row % group;
  return word(op, 2) + word(op, 3) * token + head * word(op, 8) * 4;
}

/** Queries times scale, [panel][headDim][width]. */
function packQueries(op: usize, run: usize, kvHead: usize, to: usize, rows: usize): void {
  const bytes = word(op, 8) * 4, s = f32x4.splat(real(op, 16));
  for (let r: usize = 0; r < rows; r += 4) {
    const left = rows - r, panel = to + bytes * r;
    const p0 = queryAt(op, run, kvHead, r), p1 = queryAt(op, run, kvHead, min(r + 1, rows - 1));
    if (left == 1) {
      for (let i: usize = 0; i < bytes; i += 16) v128.store(panel + i, f32x4.mul(v128.load(p0 + i), s));
    } else if (left == 2) {
      for (let i: usize = 0; i < bytes; i += 16) {
        const a = f32x4.mul(v128.load(p0 + i), s), b = f32x4.mul(v128.load(p1 + i), s);
        v128.store(panel + 2 * i, v128.shuffle<f32>(a, b, 0, 4, 1, 5));
        v128.store(panel + 2 * i, v128.shuffle<f32>(a, b, 2, 6, 3, 7), 16);
      }
    } else {
      const p2 = queryAt(op, run, kvHead, r + 2), p3 = queryAt(op, run, kvHead, min(r + 3, rows - 1));
      for (let i: usize = 0; i < bytes; i += 16) {
        storeTransposed(
          panel + 4 * i,
          f32x4.mul(v128.load(p0 + i), s),
          f32x4.mul(v128.load(p1 + i), s),
          f32x4.mul(v128.load(p2 + i), s),
          f32x4.mul(v128.load(p3 + i), s),
        );
      }
    }
  }
}

@inline
function pageOf(op: usize, row: usize, position: usize): usize {
  return load<usize>(word(op, 13) + (row * word(op, 14) + (position >> word(op, 15))) * 4);
}

/**
 * Addresses of the block's keys, eight at a time, each [headDim] lines of eight; returns the bytes between lines.
 * Pages of eight tokens or more hold them so; smaller ones are gathered.
 */
function findKeys(op: usize, row: usize, kvHead: usize, k0: usize, keys: usize, to: usize, gathered: usize): usize {
  const shift = word(op, 15), dim = word(op, 8), kvHeads = word(op, 7);
  const base: usize = word(op, 11);
  const slots = (1 << shift) - 1;
  for (let g: usize = 0; g < keys; g += 8) {
    let at: usize;
    if (shift >= 3) {
      const page = pageOf(op, row, k0 + g);
      at = base + ((page * kvHeads + kvHead) * dim << (shift + 2)) + (((k0 + g) & slots) << 2);
    } else {
      at = gathered + g * dim * 4;
      for (let j: usize = g; j < min(g + 8, keys); j++) {
        const page = pageOf(op, row, k0 + j);
        let from = base + ((page * kvHeads + kvHead) * dim << (shift + 2)) + (((k0 + j) & slots) << 2);
        for (let d: usize = 0; d < dim; d++, from += 4 << shift) {
          store<f32>(at + d * 32 + (j - g) * 4, load<f32>(from));
        }
      }
    }
    store<usize>(to + (g >> 1), at);
  }
  return shift >= 3 ? 4 << shift : 32;
}

/**
 * One row of a block: scores become weights e^(s − m) for keys from … to, zero elsewhere; maximum, total and sums
 * of the row follow.
 */
function softmax(
  scores: usize,
  from: i32,
  to: i32,
  row: usize,
  maxima: usize,
  totals: usize,
  sums: usize,
  bytes: usize,
): void {
  const end = scores + <usize> max(0, min(<i32> blockKeys, (to + 4) & ~3)) * 4;
  const lo = i32x4.splat(from), hi = i32x4.splat(to), four = i32x4.splat(4);
  let index = i32x4(0, 1, 2, 3);
  let m = f32x4.splat(lowest);
  for (let p = scores; p < end; p += 16) {
    const seen = v128.and(i32x4.ge_s(index, lo), i32x4.le_s(index, hi));
    m = f32x4.pmax(m, v128.bitselect(v128.load(p), f32x4.splat(lowest), seen));
    index = i32x4.add(index, four);
  }
  const before = load<f32>(maxima + row * 4);
  let maximum = max4(m);
  if (maximum < before) maximum = before;
  m = f32x4.splat(maximum);
  let total = f32x4.splat(0);
  index = i32x4(0, 1, 2, 3);
  for (let p = scores; p < end; p += 16) {
    const seen = v128.and(i32x4.ge_s(index, lo), i32x4.le_s(index, hi));
    const w = v128.and(exp4(f32x4.sub(v128.load(p), m)), seen);
    v128.store(p, w);
    total = f32x4.add(total, w);
    index = i32x4.add(index, four);
  }
  for (let p = end; p < scores + blockKeys * 4; p += 16) v128.store(p, f32x4.splat(0));
  const shrink = exp4(f32x4.sub(f32x4.splat(before), m));
  const factor = f32x4.extract_lane(shrink, 0);
  store<f32>(totals + row * 4, load<f32>(totals + row * 4) * factor + sum4(total));
  store<f32>(maxima + row * 4, maximum);
  if (maximum != before) {
    const at = sums + row * bytes;
    for (let p = at; p < at + bytes; p += 16) v128.store(p, f32x4.mul(v128.load(p), shrink));
  }
}

/** Weights [width][64] to [keys][width]. */
function packWeights(to: usize, scores: usize, width: usize, keys: usize): void {
  const end = ((keys + 3) & ~3) * 4, line: usize = blockKeys * 4;
  if (width == 1) {
    memory.copy(to, scores, end);
  } else if (width == 2) {
    for (let i: usize = 0; i < end; i += 16) {
      const a = v128.load(scores + i), b = v128.load(scores + line + i);
      v128.store(to + 2 * i, v128.shuffle<f32>(a, b, 0, 4, 1, 5));
      v128.store(to + 2 * i, v128.shuffle<f32>(a, b, 2, 6, 3, 7), 16);
    }
  } else {
    for (let i: usize = 0; i < end; i += 16) {
      storeTransposed(
        to + 4 * i,
        v128.load(scores + i),
        v128.load(scores + line + i),
        v128.load(scores + 2 * line + i),
        v128.load(scores + 3 * line + i),
      );
    }
  }
}

/** sums[width, headDim] += weights · values of the block, page by page. */
function addValues(
  op: usize,
  row: usize,
  kvHead: usize,
  k0: usize,
  keys: usize,
  width: usize,
  weights: usize,
  sums: usize,
): void {
  const shift = word(op, 15), kvHeads = word(op, 7), bytes = word(op, 8) * 4;
  const slots = (1 << shift) - 1;
  for (let j: usize = 0; j < keys;) {
    const slot = (k0 + j) & slots;
    const count = min(slots + 1 - slot, keys - j);
    const page = pageOf(op, row, k0 + j);
    const v = word(op, 12) + ((page * kvHeads + kvHead) * bytes << shift) + bytes * slot;
    const a = weights + j * width * 4;
    for (let c: usize = 0; c < bytes; c += 32) tile(width, a, v + c, bytes, sums + c, bytes, count);
    j += count;
  }
}

/** sums / totals to the output. */
function writeRows(op: usize, run: usize, kvHead: usize, rows: usize, sums: usize, totals: usize): void {
  const bytes = word(op, 8) * 4, group = word(op, 6) / word(op, 7);
  for (let r: usize = 0; r < rows; r++) {
    const token = load<usize>(run, 8) + r / group, head = kvHead * group + r % group;
    const y = word(op, 9) + word(op, 10) * token + bytes * head;
    const scale = f32x4.splat(1 / load<f32>(totals + r * 4)), from = sums + bytes * r;
    for (let i: usize = 0; i < bytes; i += 16) v128.store(y + i, f32x4.mul(v128.load(from + i), scale));
  }
}
