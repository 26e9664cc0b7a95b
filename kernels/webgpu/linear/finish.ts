// Pieces of WGSL that the kernels of a matrix product share: how eight consecutive elements of a row are loaded and
// unpacked, how a result is finished (bias, residual, SiLU·mul), and how a one-dimensional grid is folded.
//
// Eight elements are one 16-byte load of a 16-bit type (or two of float32), the widest load WGSL has. bf16 is the
// upper half of a float32, so it unpacks with a shift and a mask; both halves of f16 unpack with one builtin. Eight
// numbers of q8 are 8 bytes, and the block's scale is loaded beside them: it stands behind the row, where one load
// finds those of four blocks, so neighbouring lanes ask for the same 8 bytes. Bytes are converted by putting them
// into a float32's lowest bits, since conversion instructions have a quarter of the speed of others.

import { type DType, rowBytes } from "../../formats/mod.ts";
import { q8Block } from "../../formats/q8.ts";
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
  switch (dtype) {
    case "f32":
      return { element: "vec4<f32>", loads: 2 };
    case "f16":
    case "bf16":
      return { element: "vec4<u32>", loads: 1 };
    case "q8":
      return { element: "vec2<u32>", loads: 1 };
  }
}

/** Octets from one row of a weight to the next; those of q8 have the row's scales behind them. */
export function rowOctets(dtype: DType, columns: number): number {
  return dtype === "q8" ? rowBytes(dtype, columns) / 8 : columns / 8;
}

/** Names and types of the variables that hold a loaded octet: one per load, and the scale of q8. */
export function octetVariables(dtype: DType, name: string): (readonly [name: string, type: string])[] {
  const { element, loads } = octets(dtype);
  const words = Array.from({ length: loads }, (_, i) => [`${name}_${i}`, element] as const);
  return dtype === "q8" ? [...words, [`${name}_s`, "f32"]] : words;
}

/** Statements that load octet `index` of `buffer` into `name`_0 (and `name`_1 for float32); not for q8. */
export function loadOctet(
  dtype: Exclude<DType, "q8">,
  buffer: string,
  name: string,
  index: string,
  keyword = "let ",
): string {
  return dtype === "f32"
    ? `${keyword}${name}_0 = ${buffer}[(${index}) * 2u]; ${keyword}${name}_1 = ${buffer}[(${index}) * 2u + 1u];`
    : `${keyword}${name}_0 = ${buffer}[${index}];`;
}

/**
 * Statements that load octet `octet` of the weight's row that begins at octet `row`, of any type, into
 * {@link octetVariables}; needs {@link scaleFunction} in the shader.
 */
export function loadWeight(
  dtype: DType,
  buffer: string,
  name: string,
  row: string,
  octet: string,
  keyword = "let ",
): string {
  if (dtype !== "q8") return loadOctet(dtype, buffer, name, `${row} + ${octet}`, keyword);
  return `${keyword}${name}_0 = ${buffer}[${row} + ${octet}]; ${keyword}${name}_s = scale_q8(${row}, ${octet});`;
}

/** For q8 the function that finds an octet's scale in a `buffer` whose rows have so many columns; else nothing. */
export function scaleFunction(dtype: DType, buffer: string, columns: number): string {
  if (dtype !== "q8") return "";
  const shift = Math.log2(q8Block / 8);
  return `fn scale_q8(row: u32, octet: u32) -> f32 {
  let block = octet >> ${shift}u;
  let words = ${buffer}[row + ${columns / 8}u + (block >> 2u)];
  let pair = unpack2x16float(select(words.x, words.y, (block & 2u) != 0u));
  return select(pair.x, pair.y, (block & 1u) != 0u);
}`;
}

/** The factor, with a sign of multiplication, that {@link octetNumbers} lack. */
export function octetScale(dtype: DType, name: string): string {
  return dtype === "q8" ? `${name}_s * ` : "";
}

/** Elements 0–3 and 4–7 of a loaded octet as vec4<f32>; needs {@link unpackFunctions} in the shader. */
export function octetHalves(dtype: DType, name: string): readonly [low: string, high: string] {
  const [low, high] = octetNumbers(dtype, name);
  return [octetScale(dtype, name) + low, octetScale(dtype, name) + high];
}

/** The same without the scale of q8, for whoever multiplies the sum by it. */
export function octetNumbers(dtype: DType, name: string): readonly [low: string, high: string] {
  switch (dtype) {
    case "q8":
      return [`unpack_q8(${name}_0.x)`, `unpack_q8(${name}_0.y)`];
    case "f32":
      return [`${name}_0`, `${name}_1`];
    case "f16":
    case "bf16":
      return [`unpack_${dtype}(${name}_0.xy)`, `unpack_${dtype}(${name}_0.zw)`];
  }
}

/** Functions that turn two words, or one of q8, into four float32 numbers. */
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
    // 2²³ + number + 128, less 2²³ + 128.
    q8: `fn unpack_q8(w: u32) -> vec4<f32> {
  let bytes = (vec4<u32>(w ^ 0x80808080u) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
  return bitcast<vec4<f32>>(bytes | vec4<u32>(0x4b000000u)) - vec4<f32>(8388736.0);
}`,
  };
  return [...new Set(dtypes)].map((dtype) => functions[dtype]).join("\n");
}

/** Columns of the output: half of the matrix's rows when gate and up are combined. */
export function outputWidth(shape: LinearShape): number {
  return shape.epilogue === "silu-mul" ? shape.rows / 2 : shape.rows;
}

/** A function `finish(token, column, …)` that writes one output element and returns it: bias, epilogue, conversion. */
export function finishFunction(shape: LinearShape): string {
  const { epilogue, bias, output, outputStride, outputOffset } = shape;
  const place = `output[token * ${outputStride}u + ${outputOffset}u + column]`;
  const cast = output === "f16" ? "f16" : "f32";
  switch (epilogue) {
    case "store":
    case "add":
      return `fn finish(token: u32, column: u32, value: f32) -> f32 {
  let y = value${bias ? " + bias[column]" : ""}${epilogue === "add" ? ` + f32(${place})` : ""};
  ${place} = ${cast}(y);
  return y;
}`;
    case "silu-mul":
      return `fn finish(token: u32, column: u32, gateSum: f32, upSum: f32) -> f32 {
  let gate = gateSum${bias ? " + bias[column]" : ""};
  let up = upSum${bias ? ` + bias[column + ${shape.rows / 2}u]` : ""};
  let y = gate / (1.0 + exp(-gate)) * up;
  ${place} = ${cast}(y);
  return y;
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

/** A buffer of a kernel. */
export interface BufferDeclaration {
  /** In the shader. */
  readonly name: string;
  /** WGSL type of its elements. */
  readonly element: string;
  /** Whether the kernel writes it. */
  readonly write?: boolean;
}

/** Declarations of the plan and of a kernel's buffers, in binding order. */
export function declareBuffers(buffers: readonly BufferDeclaration[]): string {
  const lines = buffers.map(({ name, element, write }, i) =>
    `@group(1) @binding(${i}) var<storage, ${write ? "read_write" : "read"}> ${name}: array<${element}>;`
  );
  return ["@group(0) @binding(0) var<storage, read> plan: array<u32>;", ...lines].join("\n");
}
