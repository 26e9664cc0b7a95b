// Rows of a matrix that stand among others', as gpt-oss stores its experts: gate and up row by row, or column by column
// of the transposed matrix; or as four-bit floats with their exponents elsewhere.

import type { TensorInfo } from "./safetensors.ts";
import type { Range } from "./shard.ts";

/** Some of the tensor's rows, one behind the other. `data` is all that is stored at its offset, see `TensorInfo`. */
export function pickedRows(
  { shape, dtype, every }: TensorInfo,
  rows: Range,
  data: Uint8Array,
  exponents: Uint8Array,
): Uint8Array {
  const { first, step, transposed } = every!, [storedRows, columns] = shape as readonly [number, number];
  const count = rows.end - rows.start, stored = storedRows * step;
  if (dtype === "MXFP4") {
    const blocks = columns / 32, out = new Uint8Array(count * blocks * 17);
    for (let r = 0; r < count; r++) {
      const from = (first + (rows.start + r) * step) * blocks;
      for (let b = 0; b < blocks; b++) {
        putBlock(out, (r * blocks + b) * 17, data, (from + b) * 16, exponents[from + b]!);
      }
    }
    return out;
  }
  const Numbers = dtype === "F32" ? Uint32Array : Uint16Array;
  const from = new Numbers(
    data.buffer as ArrayBuffer,
    data.byteOffset,
    data.byteLength / Numbers.BYTES_PER_ELEMENT,
  );
  const out = new Numbers(count * columns);
  for (let r = 0; r < count; r++) {
    const row = first + (rows.start + r) * step;
    if (!transposed) out.set(from.subarray(row * columns, (row + 1) * columns), r * columns);
    else for (let c = 0; c < columns; c++) out[r * columns + c] = from[c * stored + row]!;
  }
  return new Uint8Array(out.buffer);
}

/** GGML's block: the exponent, then bytes whose halves are 16 columns apart; in safetensors they are neighbours. */
function putBlock(out: Uint8Array, to: number, data: Uint8Array, from: number, exponent: number): void {
  out[to] = exponent;
  const nibble = (i: number) => data[from + (i >> 1)]! >> 4 * (i & 1) & 15;
  for (let j = 0; j < 16; j++) out[to + 1 + j] = nibble(j) | nibble(16 + j) << 4;
}
