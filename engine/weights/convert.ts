// Between the number formats of checkpoints and of the device.
//
// The device's formats know themselves (`kernels/formats/`). fp8 (e4m3, arXiv 2209.05433) is only stored: it comes
// with one scale per tensor, per row, or per block of rows and columns, and is expanded while it is loaded.

import { type DType, formats } from "../../kernels/formats/mod.ts";

/** Stored types that can be loaded. */
export type StoredType = "BF16" | "F16" | "F32" | "F8_E4M3";

/** Whether it is one of the types that are read. */
export function isStoredType(dtype: string): dtype is StoredType {
  return dtype === "BF16" || dtype === "F16" || dtype === "F32" || dtype === "F8_E4M3";
}

/** Scales of an fp8 matrix: one for each block of `blockRows` × `blockColumns` elements. */
export interface BlockScales {
  /** [rows / blockRows, columns / blockColumns], rounded up, row-major. */
  readonly values: Float32Array;
  /** Rows that share a scale. */
  readonly blockRows: number;
  /** Columns that share a scale. */
  readonly blockColumns: number;
  /** Blocks side by side. */
  readonly stride: number;
}

const storedAs: Readonly<Record<Exclude<StoredType, "F8_E4M3">, DType>> = {
  BF16: "bf16",
  F16: "f16",
  F32: "f32",
};
/** The device type that holds a stored type without change; fp8 expands to bf16. */
export function nativeType(stored: StoredType): DType {
  return stored === "F8_E4M3" ? "bf16" : storedAs[stored];
}

/** Elements of a stored type as float32; the bytes must start at a multiple of 4 in their buffer. */
export function toFloat32(data: Uint8Array, from: StoredType): Float32Array {
  return from === "F8_E4M3"
    ? Float32Array.from(data, (code) => e4m3[code]!)
    : formats[storedAs[from]].decode(data, 1);
}

/** Rows of a stored type as bytes of a device type; the same bytes where nothing changes. */
export function convert(data: Uint8Array, from: StoredType, to: DType, columns: number): Uint8Array {
  if (nativeType(from) === to && from !== "F8_E4M3") return data;
  if (from !== "BF16" || to !== "f16") return formats[to].encode(toFloat32(data, from), columns);
  const source = new Uint16Array(data.buffer, data.byteOffset, data.byteLength / 2);
  const halves = new Uint16Array(source.length);
  for (let i = 0; i < source.length; i++) halves[i] = halfOfBfloat[source[i]!]!;
  return new Uint8Array(halves.buffer);
}

/**
 * Expands rows of an fp8 matrix: value × scale of its block. `data` is [rows, columns], whose first element stands
 * at (firstRow, firstColumn) of the matrix that the scales describe.
 */
export function expandFp8(
  data: Uint8Array,
  columns: number,
  firstRow: number,
  firstColumn: number,
  scales: BlockScales,
): Float32Array {
  const { values: scale, blockRows, blockColumns, stride } = scales;
  const out = new Float32Array(data.length);
  const rows = data.length / columns;
  for (let r = 0; r < rows; r++) {
    const scaleRow = Math.floor((firstRow + r) / blockRows) * stride;
    for (let c = 0; c < columns;) {
      const block = Math.floor((firstColumn + c) / blockColumns);
      const end = Math.min(columns, (block + 1) * blockColumns - firstColumn);
      const factor = scale[scaleRow + block]!;
      for (; c < end; c++) out[r * columns + c] = e4m3[data[r * columns + c]!]! * factor;
    }
  }
  return out;
}

/** float16 of every bfloat16: the common conversion deserves a table. */
const halfOfBfloat: Uint16Array = (() => {
  const bfloats = new Uint8Array(Uint16Array.from({ length: 65536 }, (_, bits) => bits).buffer);
  return new Uint16Array(formats.f16.encode(formats.bf16.decode(bfloats, 1), 1).buffer);
})();

/** All 256 values of fp8 e4m3: 4 bits of exponent (bias 7), 3 of mantissa, no infinities, NaN at ±0x7f. */
const e4m3 = Float32Array.from({ length: 256 }, (_, code) => {
  const exponent = (code >> 3) & 15;
  const mantissa = code & 7;
  const sign = code & 0x80 ? -1 : 1;
  if ((code & 0x7f) === 0x7f) return NaN;
  return sign * (exponent === 0 ? mantissa * 2 ** -9 : (1 + mantissa / 8) * 2 ** (exponent - 7));
});
