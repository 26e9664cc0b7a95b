// Brings row-major weights into panels of 32 rows, [panel][k][32].
//
// Sixteen-bit numbers are unpacked by a shift (even lanes) and a mask (odd lanes), so rows 0 … 7 of each eighth
// stand as 0 4 1 5 2 6 3 7: unpacking then yields rows 0–3 and rows 4–7.

/** Place of number `index` (0 … 7) among eight 16-bit ones. */
@inline
export function lanePosition(index: usize): usize {
  return index < 4 ? 2 * index : 2 * index - 7;
}

/** Index within a line of 32 of the panel's row `row`. */
@inline
export function lineIndex(row: usize, size: usize): usize {
  return size == 4 ? row : (row & ~7) + lanePosition(row & 7);
}

/** One stored number. */
@inline
export function toFloat(at: usize, dtype: usize): f32 {
  if (dtype == 2) return load<f32>(at);
  const bits: u32 = load<u16>(at);
  if (dtype == 0) return reinterpret<f32>(bits << 16);
  return reinterpret<f32>(((bits & 0x8000) << 16) | ((bits & 0x7fff) << 13)) * <f32> 5.192296858534828e33;
}

/** Copies one row of `columns` numbers to row `row` (0 … 31) of a panel. */
export function packRow(panel: usize, row: usize, from: usize, columns: usize, size: usize): void {
  const line = 32 * size;
  let to = panel + lineIndex(row, size) * size;
  const end = from + columns * size;
  if (size == 4) {
    for (; from < end; from += 4, to += line) store<usize>(to, load<usize>(from));
  } else {
    for (; from < end; from += 2, to += line) store<u16>(to, load<u16>(from));
  }
}

/** The same for eight 16-bit rows that fill an eighth of the panel: 8 × 8 transposes. `columns` a multiple of 8. */
export function packRows8(panel: usize, row: usize, from: usize, columns: usize): void {
  const bytes = columns * 2;
  let to = panel + row * 2;
  for (const end = from + bytes; from < end; from += 16, to += 512) {
    const p4 = from + 4 * bytes;
    // Pairs (r, r + 4) first: their numbers end up side by side.
    const a = v128.load(from), b = v128.load(from + bytes);
    const c = v128.load(from + 2 * bytes), d = v128.load(from + 3 * bytes);
    const e = v128.load(p4), f = v128.load(p4 + bytes), g = v128.load(p4 + 2 * bytes), h = v128.load(p4 + 3 * bytes);
    transposeHalf(
      to,
      v128.shuffle<i16>(a, e, 0, 8, 1, 9, 2, 10, 3, 11),
      v128.shuffle<i16>(b, f, 0, 8, 1, 9, 2, 10, 3, 11),
      v128.shuffle<i16>(c, g, 0, 8, 1, 9, 2, 10, 3, 11),
      v128.shuffle<i16>(d, h, 0, 8, 1, 9, 2, 10, 3, 11),
    );
    transposeHalf(
      to + 256,
      v128.shuffle<i16>(a, e, 4, 12, 5, 13, 6, 14, 7, 15),
      v128.shuffle<i16>(b, f, 4, 12, 5, 13, 6, 14, 7, 15),
      v128.shuffle<i16>(c, g, 4, 12, 5, 13, 6, 14, 7, 15),
      v128.shuffle<i16>(d, h, 4, 12, 5, 13, 6, 14, 7, 15),
    );
  }
}

/** Transposes four vectors of four pairs into four lines of a panel. */
@inline
function transposeHalf(to: usize, a: v128, b: v128, c: v128, d: v128): void {
  const ab0 = v128.shuffle<i32>(a, b, 0, 4, 1, 5), ab1 = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
  const cd0 = v128.shuffle<i32>(c, d, 0, 4, 1, 5), cd1 = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
  v128.store(to, v128.shuffle<i64>(ab0, cd0, 0, 2));
  v128.store(to, v128.shuffle<i64>(ab0, cd0, 1, 3), 64);
  v128.store(to, v128.shuffle<i64>(ab1, cd1, 0, 2), 128);
  v128.store(to, v128.shuffle<i64>(ab1, cd1, 1, 3), 192);
}
