// Four-bit checkpoints of AutoAWQ and AutoGPTQ as rows of the device's formats.
//
// Both store a linear layer's weight transposed, [inputs, outputs], in groups of inputs (128, mostly) that share a scale
// and a zero for each output: weight = scale · (number − zero). A word of 32 bits holds eight numbers:
//
//   GPTQ  qweight [inputs / 8, outputs]: eight inputs, the first lowest (Frantar et al. 2022, arXiv 2210.17323; layout of
//         AutoGPTQ's exllama kernels); qzeros [groups, outputs / 8]: eight outputs in order, less one.
//   AWQ   qweight [inputs, outputs / 8] and qzeros [groups, outputs / 8]: eight outputs in the order 0 2 4 6 1 3 5 7 (Lin et
//         al. 2023, arXiv 2306.00978; AutoAWQ's "gemm" layout).
//
// A symmetric checkpoint's zero is always 8: that is Q4_0, exactly. Others become Q4_1, whose minimum, −scale · zero, is
// rounded to float16: a weight is off by at most 0.4 % of a step.

import { z } from "zod";
import { type DType, formats } from "../../kernels/formats/mod.ts";
import { planeStarts } from "../../kernels/formats/planes.ts";
import { checked, field, ModelError, optional, shown } from "../model/json.ts";
import type { MatrixPiece } from "./plan.ts";
import type { TensorInfo } from "./safetensors.ts";
import type { TensorIndex } from "./tensor_index.ts";

/** How a checkpoint's weights are packed. */
export interface Packing {
  /** Whose layout. */
  readonly method: "awq" | "gptq";
  /** Inputs that share a scale; 0 for all. */
  readonly groupSize: number;
  /** The zero is always 8. */
  readonly symmetric: boolean;
  /** What is added to stored zeros. */
  readonly zeroOffset: 0 | 1;
}

const schema = field.object({
  quant_method: field.string,
  bits: optional(z.literal(4, { error: "4; other numbers of bits cannot be read" })),
  w_bit: optional(z.literal(4, { error: "4; other numbers of bits cannot be read" })),
  group_size: optional(field.integer(-1, 65536)),
  desc_act: optional(field.boolean),
  sym: optional(field.boolean),
  version: optional(field.string),
  checkpoint_format: optional(field.string),
});

/**
 * The packing that a `quantization_config` names; null where it names another method.
 * @throws ModelError where it is AWQ or GPTQ in a way that cannot be read
 */
export function parsePacking(json: unknown, path: string): Packing | null {
  const method = (json as { quant_method?: unknown } | null)?.quant_method;
  if (method !== "awq" && method !== "gptq") return null;
  const where = `${path}: quantization_config`;
  const { group_size, desc_act, sym, version, checkpoint_format } = checked(schema, json, where);
  const refuse = (what: string): never => {
    throw new ModelError(`${where}: ${what} cannot be read; use another checkpoint of the model`);
  };
  const groupSize = Math.max(0, group_size ?? 128);
  if (groupSize % 32 !== 0) refuse(`groups of ${groupSize} inputs`);
  if (method === "awq") {
    if (version !== undefined && version.toLowerCase() !== "gemm") refuse(`AWQ's layout ${shown(version)}`);
    return { method, groupSize, symmetric: false, zeroOffset: 0 };
  }
  if (desc_act === true && groupSize !== 0) refuse("GPTQ with inputs in the order of activations (desc_act)");
  if (checkpoint_format !== undefined && !["gptq", "gptq_v2"].includes(checkpoint_format)) {
    refuse(`GPTQ's format ${shown(checkpoint_format)}`);
  }
  return { method, groupSize, symmetric: sym !== false, zeroOffset: checkpoint_format === "gptq_v2" ? 0 : 1 };
}

/** Stored types that stand for packed matrices, by whether their zeros vary. */
export const packedTypes = { symmetric: "INT4_SYM", varying: "INT4" } as const;

/** The tensors that make up a packed matrix. */
export function packedParts(name: string, tensors: TensorIndex): { zeros: TensorInfo; scales: TensorInfo } {
  const base = name.slice(0, -".weight".length);
  const part = (suffix: string) => {
    const info = tensors.get(`${base}.${suffix}`);
    if (info === undefined) throw new ModelError(`the weights lack tensor ${base}.${suffix}`);
    return info;
  };
  return { zeros: part("qzeros"), scales: part("scales") };
}

/** An index in which each packed matrix is a tensor `NAME.weight` of shape [outputs, inputs] beside its parts. */
export function withPackedTensors(tensors: TensorIndex, packing: Packing): TensorIndex {
  const index = new Map(tensors);
  for (const [qweight, numbers] of tensors) {
    if (!qweight.endsWith(".qweight")) continue;
    const name = `${qweight.slice(0, -".qweight".length)}.weight`;
    const { zeros, scales } = packedParts(name, tensors);
    const [a, b] = numbers.shape as readonly [number, number];
    const [inputs, outputs] = packing.method === "gptq" ? [8 * a, b] : [a, 8 * b];
    if (numbers.shape.length !== 2 || inputs % 32 !== 0 || outputs % 8 !== 0) {
      throw new ModelError(
        `${numbers.file}: tensor ${qweight} has shape [${numbers.shape}], which is no packed matrix`,
      );
    }
    const groups = packing.groupSize === 0 ? 1 : Math.ceil(inputs / packing.groupSize);
    expect(numbers, "I32", numbers.shape);
    expect(zeros, "I32", [groups, outputs / 8]);
    expect(scales, "F16", [groups, outputs]);
    const dtype = packedTypes[packing.symmetric ? "symmetric" : "varying"];
    index.set(name, { ...numbers, name, dtype, shape: [outputs, inputs] });
  }
  return index;
}

function expect({ file, name, dtype, shape }: TensorInfo, type: string, wanted: readonly number[]): void {
  if (dtype === type && shape.join() === wanted.join()) return;
  throw new ModelError(`${file}: tensor ${name} is ${dtype} [${shape}]; expected ${type} [${wanted}]`);
}

/** Bits below each of eight outputs in AWQ's words. */
const awqPlaces = [0, 16, 4, 20, 8, 24, 12, 28] as const;

/** What a packed matrix has beside its numbers. */
export interface PackedScales {
  /** See the head of this file. */
  readonly zeros: Uint32Array;
  /** float16 bits, [groups, outputs]. */
  readonly scales: Uint16Array;
}

/**
 * A piece of a packed matrix (rows are outputs, columns inputs) in a device's format.
 * @throws ModelError naming the matrix, where a symmetric checkpoint has a zero other than 8
 */
export function unpackRows(
  { tensor: name, shape: [outputs, inputs], rows, columns: wanted, width: padded }: MatrixPiece,
  numbers: Uint32Array,
  { zeros, scales }: PackedScales,
  { method, groupSize, symmetric, zeroOffset }: Packing,
  target: DType,
): Uint8Array {
  // Whole blocks of 32 columns around those that are wanted.
  const columns = { start: Math.floor(wanted.start / 32) * 32, end: Math.ceil(wanted.end / 32) * 32 };
  const native = symmetric ? "q4_0" : "q4_1";
  const width = columns.end - columns.start, count = rows.end - rows.start;
  const stride = formats[native].rowBytes(width), start = planeStarts(4, width).scales;
  const out = new DataView(new ArrayBuffer(count * stride));
  const words = outputs / 8, each = groupSize === 0 ? inputs : groupSize;
  // Sixteen rows at a time: their words lie side by side.
  for (let first = 0; first < count; first += 16) {
    const last = Math.min(first + 16, count);
    for (let k = columns.start; k < columns.end; k += 8) {
      for (let row = first; row < last; row++) {
        const output = rows.start + row;
        let low = 0, high = 0;
        if (method === "gptq") {
          const word = numbers[k / 8 * outputs + output]!;
          for (let i = 0; i < 4; i++) {
            low |= (word >>> 4 * i & 15) << 8 * i;
            high |= (word >>> 16 + 4 * i & 15) << 8 * i;
          }
        } else {
          const at = k * words + (output >> 3), place = awqPlaces[output & 7]!;
          for (let i = 0; i < 4; i++) {
            low |= (numbers[at + i * words]! >>> place & 15) << 8 * i;
            high |= (numbers[at + (i + 4) * words]! >>> place & 15) << 8 * i;
          }
        }
        out.setUint32(row * stride + (k - columns.start) / 2, low | high << 4, true);
      }
    }
  }
  for (let row = 0; row < count; row++) {
    const output = rows.start + row, at = row * stride + start;
    const place = method === "gptq" ? 4 * (output & 7) : awqPlaces[output & 7]!;
    for (let k = columns.start; k < columns.end; k += 32) {
      const group = Math.floor(k / each), scale = scales[group * outputs + output]!;
      const zero = (zeros[group * words + (output >> 3)]! >>> place & 15) + zeroOffset;
      const block = (k - columns.start) / 32;
      if (symmetric) {
        if (zero !== 8) {
          throw new ModelError(`${name}: a zero is ${zero}, though the configuration says "sym"`);
        }
        out.setUint16(at + 2 * block, scale, true);
      } else {
        out.setUint16(at + 4 * block, scale, true);
        out.setFloat16(at + 4 * block + 2, -zero * out.getFloat16(at + 4 * block, true), true);
      }
    }
  }
  const bytes = new Uint8Array(out.buffer);
  const whole = columns.start === wanted.start && columns.end === wanted.end && padded === width;
  if (target === native && whole) return bytes;
  const values = formats[native].decode(bytes, width);
  if (whole) return formats[target].encode(values, width);
  const cut = new Float32Array(count * padded);
  for (let row = 0; row < count; row++) {
    const from = row * width + wanted.start - columns.start;
    cut.set(values.subarray(from, from + wanted.end - wanted.start), row * padded);
  }
  return formats[target].encode(cut, padded);
}
