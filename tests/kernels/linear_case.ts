// Random inputs for a matrix product, in the bytes the device holds, and the result in float64 that they ask for.

import type { DType } from "../../kernels/formats/mod.ts";
import { decode as decodeRows, encode as encodeRows } from "./numbers.ts";
import type { ElementType } from "../../kernels/webgpu/shader/kernel.ts";
import type { LinearRole, LinearShape } from "../../kernels/webgpu/linear/linear.ts";

/** Mulberry32: a small seeded generator of numbers in [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Bytes of rows of `columns` values stored as `dtype`; the array is rounded in place to what was stored. */
export function encode(values: Float32Array, dtype: DType, columns: number): Uint8Array {
  switch (dtype) {
    case "f32":
      return new Uint8Array(values.slice().buffer);
    case "f16": {
      const stored = new Float16Array(values);
      values.set(stored);
      return new Uint8Array(stored.buffer);
    }
    case "bf16": {
      const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
      const stored = new Uint16Array(values.length);
      for (let i = 0; i < values.length; i++) {
        stored[i] = bits[i]! >>> 16;
        bits[i] = stored[i]! << 16;
      }
      return new Uint8Array(stored.buffer);
    }
    default: {
      const bytes = encodeRows(values, dtype, columns);
      values.set(decodeRows(bytes, dtype, columns));
      return bytes;
    }
  }
}

/** Numbers of an activation buffer. */
export function decode(bytes: Uint8Array, type: ElementType): Float32Array {
  return type === "f32" ? new Float32Array(bytes.buffer) : new Float32Array(new Float16Array(bytes.buffer));
}

export interface LinearCase {
  readonly contents: Partial<Record<LinearRole, Uint8Array>>;
  /** [tokens + 1, outputStride]: what the output buffer must hold; NaN where it must still be NaN. */
  readonly expected: Float64Array;
}

/** A random case; `inputScale` is the size of the activations. The output buffer has one row more than is written. */
export function linearCase(shape: LinearShape, tokens: number, seed: number, inputScale = 1): LinearCase {
  const { rows, columns, epilogue, outputStride, outputOffset } = shape;
  const random = seeded(seed);
  const fill = (length: number, scale: number, shift = 0) => {
    const values = new Float32Array(length);
    for (let i = 0; i < length; i++) values[i] = shift + scale * (random() + random() + random() - 1.5) * 2;
    return values;
  };
  const input = fill(tokens * columns, inputScale);
  const weight = fill(rows * columns, 1 / Math.sqrt(columns));
  const normWeight = fill(columns, 0.3, 1);
  const bias = fill(rows, 0.5);
  const residual = fill((tokens + 1) * outputStride, 1);
  const contents: Partial<Record<LinearRole, Uint8Array>> = {
    input: encode(input, shape.input, columns),
    weight: encode(weight, shape.dtype, columns),
  };
  if (shape.normEpsilon !== null) contents.normWeight = encode(normWeight, "f32", columns);
  if (shape.bias) contents.bias = encode(bias, "f32", rows);
  contents.output = epilogue === "add"
    ? encode(residual, shape.output, outputStride)
    : new Uint8Array((tokens + 1) * outputStride * (shape.output === "f32" ? 4 : 2)).fill(0xff);

  const expected = new Float64Array((tokens + 1) * outputStride).fill(NaN);
  if (epilogue === "add") expected.set(residual);
  const width = epilogue === "gate-mul" ? rows / 2 : rows;
  const x = new Float64Array(columns);
  for (let t = 0; t < tokens; t++) {
    x.set(input.subarray(t * columns, (t + 1) * columns));
    if (shape.normEpsilon !== null) {
      let squares = 0;
      for (const value of x) squares += value * value;
      const scale = 1 / Math.sqrt(squares / columns + shape.normEpsilon);
      for (let k = 0; k < columns; k++) x[k] = x[k]! * scale * normWeight[k]!;
    }
    const product = (row: number) => {
      let sum = shape.bias ? bias[row]! : 0;
      for (let k = 0; k < columns; k++) sum += x[k]! * weight[row * columns + k]!;
      return sum;
    };
    for (let n = 0; n < width; n++) {
      const at = t * outputStride + outputOffset + n;
      const y = product(n);
      switch (epilogue) {
        case "store":
          expected[at] = y;
          break;
        case "add":
          expected[at] = expected[at]! + y;
          break;
        case "gate-mul":
          expected[at] = y / (1 + Math.exp(-y)) * product(n + width);
      }
    }
  }
  return { contents, expected };
}

/** ‖actual − expected‖ / ‖expected‖ over what must be written; Infinity when something else was touched or missed. */
export function relativeError(actual: Float32Array, expected: Float64Array): number {
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    const e = expected[i]!;
    const a = actual[i]!;
    if (Number.isNaN(e) !== Number.isNaN(a)) return Infinity;
    if (Number.isNaN(e)) continue;
    difference += (a - e) ** 2;
    norm += e * e;
  }
  return Math.sqrt(difference / norm);
}
