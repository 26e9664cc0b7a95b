// Pieces of WGSL that the kernels of a matrix product share: how eight consecutive elements of a row are loaded and
// unpacked, how a result is finished (bias, residual, SiLU·mul), and how a one-dimensional grid is folded.
//
// Eight elements are one 16-byte load of a 16-bit type (or two of float32), the widest load WGSL has. bf16 is the
// upper half of a float32, so it unpacks with a shift and a mask; both halves of f16 unpack with one builtin.

import type { DType } from "../../ops.ts";
import type { LinearShape } from "./linear.ts";

/** WGSL bodies are built from repeated lines; this writes them. */
export function repeat(count: number, line: (index: number) => string): string {
  return Array.from({ length: count }, (_, i) => line(i)).join("\n");
}

/** How rows of one operand are stored and read, eight elements at a time. */
export interface Octets {
  /** Type of the buffer's elements. */
  readonly element: string;
  /** Type of the variables that hold eight loaded elements, one per load. */
  readonly loads: number;
}

/** How rows of a type are read. */
export function octets(dtype: DType): Octets {
  return dtype === "f32" ? { element: "vec4<f32>", loads: 2 } : { element: "vec4<u32>", loads: 1 };
}

/** Statements that load octet `index` of `buffer` into `name`_0 (and `name`_1 for float32). */
export function loadOctet(
  dtype: DType,
  buffer: string,
  name: string,
  index: string,
  keyword = "let ",
): string {
  return dtype === "f32"
    ? `${keyword}${name}_0 = ${buffer}[(${index}) * 2u]; ${keyword}${name}_1 = ${buffer}[(${index}) * 2u + 1u];`
    : `${keyword}${name}_0 = ${buffer}[${index}];`;
}

/** Elements 0–3 and 4–7 of a loaded octet as vec4<f32>; needs {@link unpackFunctions} in the shader. */
export function octetHalves(dtype: DType, name: string): readonly [low: string, high: string] {
  switch (dtype) {
    case "f32":
      return [`${name}_0`, `${name}_1`];
    case "f16":
    case "bf16":
      return [`unpack_${dtype}(${name}_0.xy)`, `unpack_${dtype}(${name}_0.zw)`];
  }
}

/** Functions that turn two words into four float32 numbers. */
export function unpackFunctions(dtypes: Iterable<DType>): string {
  const functions = {
    f32: "",
    f16: `fn unpack_f16(w: vec2<u32>) -> vec4<f32> {
  return vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y));
}`,
    bf16: `fn unpack_bf16(w: vec2<u32>) -> vec4<f32> {
  let even = bitcast<vec2<f32>>(w << vec2<u32>(16u));
  let odd = bitcast<vec2<f32>>(w & vec2<u32>(0xffff0000u));
  return vec4<f32>(even.x, odd.x, even.y, odd.y);
}`,
  };
  return [...new Set(dtypes)].map((dtype) => functions[dtype]).join("\n");
}

/** Columns of the output: half of the matrix's rows when gate and up are combined. */
export function outputWidth(shape: LinearShape): number {
  return shape.epilogue === "silu-mul" ? shape.rows / 2 : shape.rows;
}

/** A function `finish(token, column, …)` that writes one output element: bias, epilogue, conversion. */
export function finishFunction(shape: LinearShape): string {
  const { epilogue, bias, output, outputStride, outputOffset } = shape;
  const place = `output[token * ${outputStride}u + ${outputOffset}u + column]`;
  const cast = output === "f16" ? "f16" : "f32";
  switch (epilogue) {
    case "store":
    case "add":
      return `fn finish(token: u32, column: u32, value: f32) {
  let y = value${bias ? " + bias[column]" : ""};
  ${epilogue === "add" ? `${place} = ${cast}(f32(${place}) + y);` : `${place} = ${cast}(y);`}
}`;
    case "silu-mul":
      return `fn finish(token: u32, column: u32, gateSum: f32, upSum: f32) {
  let gate = gateSum${bias ? " + bias[column]" : ""};
  let up = upSum${bias ? ` + bias[column + ${shape.rows / 2}u]` : ""};
  ${place} = ${cast}(gate / (1.0 + exp(-gate)) * up);
}`;
  }
}

/** Most workgroups along one dimension of a grid (a limit of WebGPU). */
const MAX_GRID = 65535;

/** Folds `count` workgroups into two dimensions; {@link gridIndex} undoes it. */
export function foldGrid(count: number): readonly [number, number] {
  if (count <= MAX_GRID) return [count, 1];
  const height = Math.ceil(count / MAX_GRID);
  return [Math.ceil(count / height), height];
}

/** Expression for a workgroup's number in a folded grid of `count`. */
export function gridIndex(count: number): string {
  const [width, height] = foldGrid(count);
  return height === 1 ? "group.x" : `(group.y * ${width}u + group.x)`;
}

/** Declarations of the plan and of a kernel's buffers, in binding order. */
export function declareBuffers(
  buffers: readonly { readonly name: string; readonly element: string; readonly write?: boolean }[],
): string {
  const lines = buffers.map(({ name, element, write }, i) =>
    `@group(1) @binding(${i}) var<storage, ${write ? "read_write" : "read"}> ${name}: array<${element}>;`
  );
  return ["@group(0) @binding(0) var<storage, read> plan: array<u32>;", ...lines].join("\n");
}
