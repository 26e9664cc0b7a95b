// The weight formats that there are. A new one is a file here, a file in each backend, and a line in each registry.

import type { Format } from "./format.ts";
import { bf16, f16, f32 } from "./float.ts";
import { q4_0 } from "./q4_0.ts";
import { q4_1 } from "./q4_1.ts";
import { q4_k } from "./q4_k.ts";
import { q5_k } from "./q5_k.ts";
import { q6_k } from "./q6_k.ts";
import { q8 } from "./q8.ts";

/** By name. */
export const formats = { bf16, f16, f32, q8, q4_0, q4_1, q4_k, q5_k, q6_k } satisfies Record<string, Format>;

/** How a matrix is stored. */
export type DType = keyof typeof formats;

/** Names of all formats. */
export const dtypes = Object.keys(formats) as DType[];

/** Bytes of a matrix's row. */
export function rowBytes(dtype: DType, columns: number): number {
  return formats[dtype].rowBytes(columns);
}
