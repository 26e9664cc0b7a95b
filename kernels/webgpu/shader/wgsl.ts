// What all WGSL templates share: the binding convention of `kernel.ts`, and the few expressions that depend on an
// element type.

import { type DType, rowBytes } from "../../formats/mod.ts";
import { q8Block } from "../../formats/q8.ts";
import type { ElementType, KernelSource } from "./kernel.ts";

/** One buffer of group 1. */
export interface Binding {
  /** In the shader. */
  readonly name: string;
  /** WGSL type of the whole buffer. */
  readonly type: string;
  /** What the shader does with it. */
  readonly access: "read" | "read_write";
}

/** A read-only buffer. */
export const input = (name: string, type: string): Binding => ({ name, type, access: "read" });

/** A buffer that the kernel writes. */
export const output = (name: string, type: string): Binding => ({ name, type, access: "read_write" });

/** A kernel from its bindings and the rest of its text; `plan` is declared for it. */
export function kernelSource(key: string, bindings: readonly Binding[], body: () => string): KernelSource {
  return {
    key,
    access: bindings.map(({ access }) => access),
    code: () => {
      const declarations = bindings.map(({ name, type, access }, i) =>
        `@group(1) @binding(${i}) var<storage, ${access}> ${name}: ${type};`
      );
      const text = body();
      const usesHalf = /\bf16\b|\bvec[234]h\b/.test(text + declarations.join());
      return `${usesHalf ? "enable f16;\n" : ""}@group(0) @binding(0) var<storage, read> plan: array<u32>;
${declarations.join("\n")}
${text}`;
    },
  };
}

/**
 * A function `name(row, column)` that reads an element of a weight buffer bound as `array<u32>`. Words hold two
 * 16-bit elements, the lower half first.
 */
export function elementReader(name: string, buffer: string, dtype: DType, columns: number): string {
  const head = `fn ${name}(row: u32, column: u32) -> f32 {
  let i = row * ${columns}u + column;`;
  switch (dtype) {
    case "f32":
      return `${head}\n  return bitcast<f32>(${buffer}[i]);\n}`;
    case "f16":
      return `${head}\n  return unpack2x16float(${buffer}[i >> 1u])[i & 1u];\n}`;
    case "q8":
      return `fn ${name}(row: u32, column: u32) -> f32 {
  let first = row * ${rowBytes(dtype, columns) / 4}u;
  let number = bitcast<i32>(${buffer}[first + (column >> 2u)] << (24u - 8u * (column & 3u))) >> 24u;
  let block = column / ${q8Block}u;
  return f32(number) * unpack2x16float(${buffer}[first + ${columns / 4}u + (block >> 1u)])[block & 1u];
}`;
    case "bf16":
      return `${head}
  let word = ${buffer}[i >> 1u];
  return bitcast<f32>(select(word << 16u, word & 0xffff0000u, (i & 1u) == 1u));
}`;
  }
}

/** A literal that WGSL reads as f32. */
export function float(value: number): string {
  if (Object.is(value, Infinity) || Number.isNaN(value)) throw new RangeError(`no WGSL literal for ${value}`);
  const text = value.toString();
  return /[.e]/.test(text) ? `${text}f` : `${text}.0f`;
}

/** Converts an activation element to f32 and back. */
export const load = (element: ElementType, text: string): string => element === "f16" ? `f32(${text})` : text;
/** An f32 expression as an element. */
export const store = (element: ElementType, text: string): string =>
  element === "f16" ? `f16(${text})` : text;

/** A vec4<f32> expression as four elements. */
export const storeQuad = (element: ElementType, text: string): string =>
  element === "f16" ? `vec4<f16>(${text})` : text;

/** ceil(a / b) */
export const divideUp = (a: number, b: number): number => Math.ceil(a / b);

/** Smallest power of two that is at least n. */
export function powerOfTwo(n: number): number {
  let p = 1;
  while (p < n) p *= 2;
  return p;
}

/** 0, 1, … n − 1, for code that is repeated. */
export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
/** Statements, one a line. */
export const lines = (parts: readonly string[]): string => parts.join("\n");
