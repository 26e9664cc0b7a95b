// Embedding: gathers each token's row of the table, by the id that stands in the token pool.
//
// Grid: (columns / 64, T), a thread per element. Memory: table row-major in its own type, output [T, columns].
// Bound by memory, but small: T rows of the table.

import type { DType } from "../../formats/mod.ts";
import type { ElementType, KernelCall } from "../shader/kernel.ts";
import { Word } from "../plan/words.ts";
import { divideUp, elementReader, input, kernelSource, output, store } from "../shader/wgsl.ts";

const threads = 64;

/** A part of the table, and where it stands in the vocabulary. */
export interface EmbedShape {
  /** Elements of a row. */
  readonly columns: number;
  /** Type of the table. */
  readonly dtype: DType;
  /** First token id of the part, and number of its rows. */
  readonly firstId: number;
  /** Rows of the part. */
  readonly rows: number;
  /** Positions per row of the token pool. */
  readonly contextLength: number;
  /** Whether tokens that are not in the part become zeros (the table's first part) or are left alone. */
  readonly zeroOthers: boolean;
  /** Type of the result. */
  readonly output: ElementType;
}

/** output[t] = part[id(t) − firstId] for `tokens` tokens. */
export function embed(shape: EmbedShape, tokens: number): KernelCall<"table" | "tokenPool" | "output"> {
  const { columns, dtype, firstId, rows, contextLength, zeroOthers } = shape;
  const key = `embed ${dtype} ${columns} ${firstId}+${rows} ${contextLength} ${zeroOthers} ${shape.output}`;
  const source = kernelSource(
    key,
    [
      input("table", "array<u32>"),
      input("tokenPool", "array<u32>"),
      output("result", `array<${shape.output}>`),
    ],
    () =>
      `${elementReader("element", "table", dtype, columns)}
@compute @workgroup_size(${threads}) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let column = id.x;
  let token = id.y;
  if (column >= ${columns}u || token >= plan[${Word.Tokens}]) { return; }
  let at = plan[${Word.TokensAt}] + 2u * token;
  let row = tokenPool[plan[at] * ${contextLength}u + plan[at + 1u]] - ${firstId}u;
  // An id below firstId wraps around to a large number.
  if (row < ${rows}u) {
    result[token * ${columns}u + column] = ${store(shape.output, "element(row, column)")};
  }${
        zeroOthers
          ? ` else {\n    result[token * ${columns}u + column] = ${store(shape.output, "0.0")};\n  }`
          : ""
      }
}`,
  );
  return {
    source,
    bindings: ["table", "tokenPool", "output"],
    workgroups: [divideUp(columns, threads), tokens, 1],
  };
}
