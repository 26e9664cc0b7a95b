// The formats that kernels can read, and what follows from their description. A new format is a file in this folder
// and an entry here; no other file of the backend names one.

import { type DType, rowBytes } from "../../formats/mod.ts";
import { bf16 } from "./bf16.ts";
import { f16 } from "./f16.ts";
import { f32 } from "./f32.ts";
import type { VecPlace, WebGpuFormat } from "./format.ts";
import { q4_0 } from "./q4_0.ts";
import { q4_1 } from "./q4_1.ts";
import { q4_k } from "./q4_k.ts";
import { q5_k } from "./q5_k.ts";
import { q6_k } from "./q6_k.ts";
import { q8 } from "./q8.ts";

/** By name. */
export const formats: Readonly<Record<DType, WebGpuFormat>> = {
  f32,
  f16,
  bf16,
  q8,
  q4_0,
  q4_1,
  q4_k,
  q5_k,
  q6_k,
};

/** The format of this name. */
const format = (name: DType): WebGpuFormat => formats[name];

/** WGSL type of the elements of a buffer of this format. */
export const element = (name: DType): string => format(name).element;

/** Whether products of numbers of this format may be taken in f16. */
export const allowsHalf = (name: DType): boolean => format(name).half;

/** Vecs from one row to the next; a row may hold more than its numbers. */
export const rowVecs = (name: DType, columns: number): number =>
  rowBytes(name, columns) / format(name).vecBytes;

/** Declarations of variables for a loaded vec. */
export const declareVec = (name: DType, v: string): string =>
  format(name).variables(v).map(([variable, type]) => `var ${variable} = ${type}();`).join(" ");

/** Statements that set these variables to zero. */
export const clearVec = (name: DType, v: string): string =>
  format(name).variables(v).map(([variable, type]) => `${variable} = ${type}();`).join(" ");

/** Statements that load a vec into variables `v`…, declared before unless `keyword` says otherwise. */
export const loadVec = (name: DType, v: string, place: VecPlace, keyword: "let " | "" = "let "): string =>
  format(name).load(v, place, keyword);

/** Elements 0–3 and 4–7 of a loaded vec as vec4<f32>, without {@link vecScale} and {@link vecMinimum}. */
export const vecNumbers = (name: DType, v: string): readonly [low: string, high: string] =>
  format(name).numbers(v);

/** The factor that {@link vecNumbers} lack, with a sign of multiplication; empty where there is none. */
export function vecScale(name: DType, v: string): string {
  const { scale } = format(name);
  return scale === undefined ? "" : `${scale(v)} * `;
}

/** What a vec's numbers lack besides the factor; null where that is nothing. */
export const vecMinimum = (name: DType, v: string): string | null => format(name).minimum?.(v) ?? null;

/** Elements 0–3 and 4–7 of a loaded vec as vec4<f32>. */
export function vecHalves(name: DType, v: string): readonly [low: string, high: string] {
  const scale = vecScale(name, v), minimum = vecMinimum(name, v), [low, high] = vecNumbers(name, v);
  const whole = (half: string) =>
    minimum === null ? scale + half : `(${scale}${half} + vec4<f32>(${minimum}))`;
  return [whole(low), whole(high)];
}

/** The functions that reading these buffers needs, each once. */
export function formatFunctions(
  buffers: readonly (readonly [name: DType, buffer: string, columns: number])[],
): string {
  return [...new Set(buffers.map(([name, buffer, columns]) => format(name).functions(buffer, columns)))].join(
    "\n",
  );
}
