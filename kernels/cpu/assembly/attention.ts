// Causal attention over pages, for prompts and single tokens alike: FlashAttention's online softmax (Dao 2023,
// arXiv 2307.08691) with PagedAttention's tables (Kwon et al. 2023, arXiv 2309.06180).
//
// A unit is one kv head and a run of a sequence's tokens; the query heads that share the kv head are stacked as
// rows, so keys and values are read once for all of them. Keys are taken in blocks of 64 that begin at multiples
// of 64: a row sees the same blocks, hence the same bits, whatever tokens it is computed with. Scores and weighted
// sums use the micro-kernels of `cache_tile.ts`; the scales of the integers, of type T, are applied to the scores and to
// the weights.
// What is read beyond the last token of a run (to fill up an eight) is masked.

import { Attention } from "../operations";
import { cache2x16, cache2x8, cache4x8 } from "./cache_tile";
import { slotOf } from "./pages";
import { claim } from "./program";
import { clear, exp4, lanePosition, max4, softCap, storeTransposed, sum4 } from "./vector";

const blockKeys: usize = 64;
/** In place of −∞, which would make NaN of (−∞) − (−∞). */
const lowest: f32 = -1e30;

/** A unit is a kv head of a run; scratch is laid out by `attend`. */
export function attention(op: Attention, thread: i32): void {
  const kvHeads = op.kvHeads, count = op.runCount * kvHeads;
  const scratch = op.scratch + thread * op.scratchBytes;
  for (let u = claim(op, 1); u < count; u = claim(op, 1)) {
    // Longest runs first: the end of a prompt sees the most keys.
    const run = op.runs + (op.runCount - 1 - u / kvHeads) * 16;
    if (op.numberBytes == 1) attend<i8>(op, run, u % kvHeads, scratch);
    else attend<i16>(op, run, u % kvHeads, scratch);
  }
}

/** The scratch that is laid out here is counted in `../workspace.ts`. */
function attend<T>(op: Attention, run: usize, kvHead: usize, scratch: usize): void {
  const dim = op.headDim, group = op.heads / op.kvHeads, window = op.window, most = op.unitRows;
  const row = load<usize>(run), first = load<usize>(run, 4), tokens = load<usize>(run, 12), rows = tokens * group;
  const bytes = dim * 4;
  const queries = scratch, sums = queries + bytes * most;
  const maxima = sums + bytes * most, totals = maxima + most * 4;
  const scores = totals + most * 4, weights = scores + 4 * blockKeys * 4;
  const keyScales = weights + 4 * blockKeys * 4, valueScales = keyScales + blockKeys * 4;
  const keyRuns = valueScales + blockKeys * 4, valueRuns = keyRuns + blockKeys;
  const gathered = valueRuns + blockKeys * 8;

  packQueries(op, run, kvHead, queries, rows);
  clear(sums, bytes * ((rows + 3) & ~3));
  for (let r: usize = 0; r < most; r++) {
    store<f32>(maxima + r * 4, lowest);
    store<f32>(totals + r * 4, 0);
  }
  const last = first + tokens - 1;
  const start = window && first + 1 > window ? first + 1 - window : 0;
  for (let k0 = start & ~(blockKeys - 1); k0 <= last; k0 += blockKeys) {
    const keys = min(blockKeys, last + 1 - k0);
    const stride = findKeys<T>(op, row, kvHead, k0, keys, keyRuns, gathered);
    findValues<T>(op, row, kvHead, k0, keys, valueRuns);
    findScales(op, row, kvHead, k0, keys, keyScales, valueScales);
    for (let r: usize = 0; r < rows; r += 4) {
      const width = panelWidth(rows - r);
      const low = first + r / group, high = first + (min(r + 4, rows) - 1) / group;
      if (high < k0 || (window && low >= k0 + keys - 1 + window)) continue;
      const visible = min(keys, high + 1 - k0);
      score<T>(queries + bytes * r, keyRuns, (visible + 7) >> 3, stride, scores, width);
      for (let i: usize = 0; i < width; i++) {
        // A row that only fills the panel up takes the last one's mask; its sums go nowhere.
        const position = first + min(r + i, rows - 1) / group;
        const from: i32 = window ? position - window + 1 - k0 : 0;
        const factor = softmax(
          op, scores + i * blockKeys * 4, keyScales, valueScales, from, position - k0, maxima + (r + i) * 4,
          totals + (r + i) * 4,
        );
        if (factor != 1) scaleRow(sums + (r + i) * bytes, bytes, factor);
      }
      packWeights(weights, scores, width, visible);
      addValues<T>(weights, valueRuns, visible, op.pageShift, dim, width, sums + bytes * r);
    }
  }
  writeRows(op, run, kvHead, rows, sums, maxima, totals);
}

/** Rows of a panel when `left` rows remain: 4 (three are filled up) or 2 (one is). */
@inline
function panelWidth(left: usize): usize {
  return left >= 3 ? 4 : 2;
}

/** scores[width, 64] = queries · keys, for `eights` groups of eight keys. */
function score<T>(q: usize, runs: usize, eights: usize, stride: usize, scores: usize, width: usize): void {
  const line = blockKeys * 4;
  clear(scores, width * line);
  for (let g: usize = 0; g < eights; g++) {
    const run = runs + g * 8, to = scores + g * 32;
    if (width == 4) {
      cache4x8<T>(q, run, run + 8, 0, stride, to, line);
    } else if (g + 1 < eights) {
      cache2x16<T>(q, run, run + 8, 0, load<usize>(run, 8) - load<usize>(run), stride, to, line);
      g++;
    } else {
      cache2x8<T>(q, run, run + 8, 0, stride, to, line);
    }
  }
}

@inline
function queryAt(op: Attention, run: usize, kvHead: usize, row: usize): usize {
  const group = op.heads / op.kvHeads;
  const token = load<usize>(run, 8) + row / group, head = kvHead * group + row % group;
  return op.qkv + op.stride * token + head * op.headDim * 4;
}

/** Queries times scale, [panel][headDim][width]; rows that fill up repeat the last. */
function packQueries(op: Attention, run: usize, kvHead: usize, to: usize, rows: usize): void {
  const bytes = op.headDim * 4, s = f32x4.splat(op.scale);
  for (let r: usize = 0; r < rows; r += 4) {
    const panel = to + bytes * r;
    const p0 = queryAt(op, run, kvHead, r), p1 = queryAt(op, run, kvHead, min(r + 1, rows - 1));
    if (panelWidth(rows - r) == 2) {
      for (let i: usize = 0; i < bytes; i += 16) {
        const a = f32x4.mul(v128.load(p0 + i), s), b = f32x4.mul(v128.load(p1 + i), s);
        v128.store(panel + 2 * i, v128.shuffle<f32>(a, b, 0, 4, 1, 5));
        v128.store(panel + 2 * i, v128.shuffle<f32>(a, b, 2, 6, 3, 7), 16);
      }
    } else {
      const p2 = queryAt(op, run, kvHead, r + 2), p3 = queryAt(op, run, kvHead, min(r + 3, rows - 1));
      for (let i: usize = 0; i < bytes; i += 16) {
        storeTransposed(
          panel + 4 * i, f32x4.mul(v128.load(p0 + i), s), f32x4.mul(v128.load(p1 + i), s),
          f32x4.mul(v128.load(p2 + i), s), f32x4.mul(v128.load(p3 + i), s),
        );
      }
    }
  }
}

/**
 * Runs of the block's keys, eight at a time, each headDim lines of eight; returns the bytes between lines. Pages of
 * eight tokens or more hold them so; smaller ones are gathered.
 */
function findKeys<T>(op: Attention, row: usize, kvHead: usize, k0: usize, keys: usize, to: usize, gathered: usize): usize {
  const shift = op.pageShift, dim = op.headDim, base = op.keys, mask: usize = (1 << shift) - 1, bytes = sizeof<T>();
  for (let g: usize = 0; g < keys; g += 8) {
    let at: usize;
    if (shift >= 3) {
      const slot = slotOf(op, row, kvHead, k0 + g), within = slot & mask;
      at = base + ((slot - within) * dim + within) * bytes;
    } else {
      at = gathered + g * dim * bytes;
      for (let j: usize = 0; j < min(8, keys - g); j++) {
        const slot = slotOf(op, row, kvHead, k0 + g + j), within = slot & mask;
        let from = base + ((slot - within) * dim + within) * bytes;
        for (let d: usize = 0; d < dim; d++, from += bytes << shift) {
          store<T>(at + (d * 8 + lanePosition(j)) * bytes, load<T>(from));
        }
      }
    }
    store<usize>(to + g, at), store<usize>(to + g, dim, 4);
  }
  return shift >= 3 ? bytes << shift : 8 * bytes;
}

/** Runs of the block's values, one per page, tokens as lines. */
function findValues<T>(op: Attention, row: usize, kvHead: usize, k0: usize, keys: usize, to: usize): void {
  const mask: usize = (1 << op.pageShift) - 1;
  for (let j: usize = 0; j < keys; to += 8) {
    const slot = slotOf(op, row, kvHead, k0 + j), n = min(mask + 1 - (slot & mask), keys - j);
    store<usize>(to, op.values + slot * op.headDim * sizeof<T>()), store<usize>(to, n, 4);
    j += n;
  }
}

/** Scales of the block's keys and values, in the order of the keys. */
function findScales(op: Attention, row: usize, kvHead: usize, k0: usize, keys: usize, ks: usize, vs: usize): void {
  const mask: usize = (1 << op.pageShift) - 1;
  for (let j: usize = 0; j < keys;) {
    const slot = slotOf(op, row, kvHead, k0 + j), n = min(mask + 1 - (slot & mask), keys - j);
    const kFrom = op.keyScales + slot * 4, vFrom = op.valueScales + slot * 4;
    for (let i: usize = 0; i < n; i++, j++) {
      store<f32>(ks + j * 4, load<f32>(kFrom + i * 4));
      store<f32>(vs + j * 4, load<f32>(vFrom + i * 4));
    }
  }
}

/**
 * One row of a block: scores times key scales become weights e^(s − m) times value scales for keys from … to, zero
 * elsewhere. The row's maximum and total follow; its sums must be multiplied by what is returned.
 */
function softmax(
  op: Attention, scores: usize, keyScales: usize, valueScales: usize, from: i32, to: i32, maximumAt: usize, totalAt: usize,
): f32 {
  if (from <= 0 && to >= <i32> blockKeys - 1) {
    return rowSoftmax<bool>(op, scores, keyScales, valueScales, from, to, maximumAt, totalAt);
  }
  return rowSoftmax<i32>(op, scores, keyScales, valueScales, from, to, maximumAt, totalAt);
}

/** M = bool: the whole block is seen, nothing is masked. */
function rowSoftmax<M>(
  op: Attention, scores: usize, keyScales: usize, valueScales: usize, from: i32, to: i32, maximumAt: usize, totalAt: usize,
): f32 {
  const whole = sizeof<M>() == 1, cap = op.softCap;
  const end = whole ? blockKeys * 4 : <usize> max(0, min(<i32> blockKeys, (to + 4) & ~3)) * 4;
  const lo = i32x4.splat(from), hi = i32x4.splat(to), four = i32x4.splat(4);
  let index = i32x4(0, 1, 2, 3);
  let m = f32x4.splat(lowest);
  for (let i: usize = 0; i < end; i += 16) {
    let s = f32x4.mul(v128.load(scores + i), v128.load(keyScales + i));
    if (cap) s = softCap(s, cap);
    v128.store(scores + i, s);
    if (whole) {
      m = f32x4.pmax(m, s);
    } else {
      const seen = v128.and(i32x4.ge_s(index, lo), i32x4.le_s(index, hi));
      m = f32x4.pmax(m, v128.bitselect(s, f32x4.splat(lowest), seen));
      index = i32x4.add(index, four);
    }
  }
  const before = load<f32>(maximumAt), maximum = max(before, max4(m));
  m = f32x4.splat(maximum);
  let total = f32x4.splat(0);
  index = i32x4(0, 1, 2, 3);
  for (let i: usize = 0; i < end; i += 16) {
    const e = exp4(f32x4.sub(v128.load(scores + i), m)), w = f32x4.mul(e, v128.load(valueScales + i));
    if (whole) {
      total = f32x4.add(total, e);
      v128.store(scores + i, w);
    } else {
      const seen = v128.and(i32x4.ge_s(index, lo), i32x4.le_s(index, hi));
      total = f32x4.add(total, v128.and(e, seen));
      v128.store(scores + i, v128.and(w, seen));
      index = i32x4.add(index, four);
    }
  }
  clear(scores + end, blockKeys * 4 - end);
  store<f32>(maximumAt, maximum);
  const factor = maximum == before ? <f32> 1 : f32x4.extract_lane(exp4(f32x4.splat(before - maximum)), 0);
  store<f32>(totalAt, load<f32>(totalAt) * factor + sum4(total));
  return factor;
}

function scaleRow(row: usize, bytes: usize, factor: f32): void {
  const f = f32x4.splat(factor);
  for (const end = row + bytes; row < end; row += 16) v128.store(row, f32x4.mul(v128.load(row), f));
}

/** Weights [width][64] to [keys][width]. */
function packWeights(to: usize, scores: usize, width: usize, keys: usize): void {
  const end = ((keys + 3) & ~3) * 4, line: usize = blockKeys * 4;
  for (let i: usize = 0; i < end; i += 16) {
    const a = v128.load(scores + i), b = v128.load(scores + line + i);
    if (width == 2) {
      v128.store(to + 2 * i, v128.shuffle<f32>(a, b, 0, 4, 1, 5));
      v128.store(to + 2 * i, v128.shuffle<f32>(a, b, 2, 6, 3, 7), 16);
    } else {
      storeTransposed(to + 4 * i, a, b, v128.load(scores + 2 * line + i), v128.load(scores + 3 * line + i));
    }
  }
}

/** sums[width, headDim] += weights · values of the block's first `keys` tokens. */
function addValues<T>(
  weights: usize, runs: usize, keys: usize, shift: usize, dim: usize, width: usize, sums: usize,
): void {
  const bytes = sizeof<T>();
  // The block begins at a multiple of 64, so its pages are whole but for the last one, which may see fewer tokens.
  const count = (keys + (1 << shift) - 1) >> shift, end = runs + count * 8, lastLines = load<usize>(end - 8, 4);
  store<usize>(end - 8, keys - ((count - 1) << shift), 4);
  for (let d: usize = 0; d < dim; d += 8) {
    const to = sums + d * 4;
    if (width == 4) {
      cache4x8<T>(weights, runs, end, d * bytes, dim * bytes, to, dim * 4);
    } else if (d + 8 < dim) {
      cache2x16<T>(weights, runs, end, d * bytes, 8 * bytes, dim * bytes, to, dim * 4);
      d += 8;
    } else {
      cache2x8<T>(weights, runs, end, d * bytes, dim * bytes, to, dim * 4);
    }
  }
  store<usize>(end - 8, lastLines, 4);
}

/** sums / totals to the output; a sink is a further part of the total. */
function writeRows(
  op: Attention, run: usize, kvHead: usize, rows: usize, sums: usize, maxima: usize, totals: usize,
): void {
  const bytes = op.headDim * 4, group = op.heads / op.kvHeads;
  for (let r: usize = 0; r < rows; r++) {
    const token = load<usize>(run, 8) + r / group, head = kvHead * group + r % group;
    const y = op.output + op.outputStride * token + bytes * head;
    let total = load<f32>(totals + r * 4);
    if (op.sinks) {
      const sink = load<f32>(op.sinks + head * 4) - load<f32>(maxima + r * 4);
      total += f32x4.extract_lane(exp4(f32x4.splat(sink)), 0);
    }
    const scale = f32x4.splat(1 / total), from = sums + bytes * r;
    for (let i: usize = 0; i < bytes; i += 16) v128.store(y + i, f32x4.mul(v128.load(from + i), scale));
  }
}
