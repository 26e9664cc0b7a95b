// How WGSL text is written: a template tag, and the few expressions that depend on an element type or a size.

import type { ElementType } from "./kernel.ts";

/** A piece of a shader: text, a number, several pieces (one a line), or nothing. */
export type Piece = string | number | false | null | readonly Piece[];

/** Template tag for shaders: a list becomes one line for each piece, `false` and `null` become nothing. */
export function wgsl(texts: TemplateStringsArray, ...pieces: readonly Piece[]): string {
  return texts.reduce((all, text, i) => all + render(pieces[i - 1]!) + text);
}

function render(piece: Piece): string {
  if (piece === false || piece === null) return "";
  return typeof piece === "object" ? piece.map(render).join("\n") : `${piece}`;
}

/** 0, 1, … n − 1: for code that is written once for each. WGSL has no way to unroll a loop. */
export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** Text written for each of 0, 1, … count − 1, one a line. */
export const repeat = (count: number, line: (i: number) => string): string =>
  range(count).map(line).join("\n");

/** The names of a vector's four elements. */
export const xyzw = ["x", "y", "z", "w"] as const;

/** A literal that WGSL reads as f32. */
export function float(value: number): string {
  if (!Number.isFinite(value)) throw new RangeError(`no WGSL literal for ${value}`);
  const text = value.toString();
  return /[.e]/.test(text) ? `${text}f` : `${text}.0f`;
}

/** An activation's element (or vector) as f32; `size` is the number of elements. */
export const load = (element: ElementType, text: string, size: 1 | 4 = 1): string =>
  element === "f32" ? text : size === 1 ? `f32(${text})` : `vec4<f32>(${text})`;

/** An f32 expression (or vector) as an activation's. */
export const store = (element: ElementType, text: string, size: 1 | 4 = 1): string =>
  element === "f32" ? text : size === 1 ? `f16(${text})` : `vec4<f16>(${text})`;

/**
 * cap · tanh(x / cap) of a number or vector `x`, which may be in units of `unit`: 2 / (1 + e^2z) is 1 − tanh z, and is
 * right for any z.
 */
export const capped = (x: string, cap: number, unit = 1, type = "f32"): string =>
  `(${type}(${float(cap * unit)}) - ${float(2 * cap * unit)} / (exp2(${x} * ${
    float(2 * Math.LOG2E / (cap * unit))
  }) + ${type}(1.0)))`;

/** ceil(a / b) */
export const divideUp = (a: number, b: number): number => Math.ceil(a / b);

/** Smallest power of two that is at least n. */
export function powerOfTwo(n: number): number {
  let p = 1;
  while (p < n) p *= 2;
  return p;
}

/** Most workgroups along one dimension of a grid (a limit of WebGPU). */
const maxGrid = 65535;

/** Folds `count` workgroups into two dimensions; {@link gridIndex} undoes it. */
export function foldGrid(count: number): readonly [number, number] {
  if (count <= maxGrid) return [count, 1];
  const height = divideUp(count, maxGrid);
  return [divideUp(count, height), height];
}

/** Expression for a workgroup's number in a folded grid of `count`. */
export function gridIndex(count: number): string {
  const [width, height] = foldGrid(count);
  return height === 1 ? "group.x" : `(group.y * ${width}u + group.x)`;
}
