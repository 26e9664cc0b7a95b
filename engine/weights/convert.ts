// Between the number formats of checkpoints and of the device.
//
// The device's formats know themselves (`kernels/formats/`). fp8 (e4m3, arXiv 2209.05433) is only stored: it comes
// with one scale per tensor, per row, or per block of rows and columns, and becomes int8 (or what `--dtype` says) while it
// is loaded.

import { type DType, formats } from "../../kernels/formats/mod.ts";
import { type Repack, repackings } from "./gguf/repack.ts";
import { type GgmlType, ggmlTypeNamed } from "./gguf/types.ts";
import { packedTypes } from "./packed.ts";

/** A type that tensors are stored in. */
export interface StoredType {
  /** Elements that are stored together, and the bytes they take. */
  readonly blockElements: number;
  /** See `blockElements`. */
  readonly blockBytes: number;
  /** The device's format that holds it best; exactly, but for GGML's types without a format of their own. */
  readonly native: DType;
  /** Rows of this type as rows of `native`, where they are the same numbers in another order. */
  readonly repack?: Repack;
  /** Elements as float32; the bytes must start at a multiple of 4 in their buffer. */
  decode(data: Uint8Array): Float32Array;
}

function plain(native: DType): StoredType {
  return {
    blockElements: 1,
    blockBytes: formats[native].rowBytes(1),
    native,
    repack: (data) => data,
    decode: (data) => formats[native].decode(data, 1),
  };
}

/** Numbers whose scales are tensors of their own: see `packed.ts`. */
function packed(native: DType): StoredType {
  const decode = () => {
    throw new Error("packed weights need their scales");
  };
  return { blockElements: 2, blockBytes: 1, native, decode };
}

/** Blocks that no format holds as they are become q8, whose rounding is far below that of five bits or fewer. */
function blocks({ name, blockElements, blockBytes, decode }: GgmlType): StoredType {
  return {
    blockElements,
    blockBytes,
    ...repackings[name] ?? { native: "q8" },
    decode(data) {
      const values = new Float32Array(data.length / blockBytes * blockElements);
      decode!(data, values);
      return values;
    },
  };
}

/** The stored types that can be loaded, by the name that files give them. */
export const storedTypes: ReadonlyMap<string, StoredType> = new Map<string, StoredType>([
  ...[...ggmlTypeNamed.values()].filter(({ decode }) => decode !== null)
    .map((type) => [type.name, blocks(type)] as const),
  ["BF16", plain("bf16")],
  ["F16", plain("f16")],
  ["F32", plain("f32")],
  [packedTypes.symmetric, packed("q4_0")],
  [packedTypes.varying, packed("q4_1")],
  // Eight bits stay eight: int8's rounding, with a scale for 32 numbers, is a fifth of e4m3's own.
  ["F8_E4M3", {
    blockElements: 1,
    blockBytes: 1,
    native: "q8",
    decode: (data) => Float32Array.from(data, (code) => e4m3[code]!),
  }],
]);

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

/** Rows of a stored type as bytes of a device type; the same bytes where nothing changes. */
export function convert(data: Uint8Array, from: string, to: DType, columns: number): Uint8Array {
  const stored = storedTypes.get(from)!;
  // The common conversion has a table; and what a format holds exactly keeps its numbers.
  if (from === "BF16" && to === "f16") return halvesOfBfloats(data);
  if (stored.native === to && stored.repack !== undefined) return stored.repack(data, columns);
  return formats[to].encode(stored.decode(data), columns);
}

function halvesOfBfloats(data: Uint8Array): Uint8Array {
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
