// Embedding: gathers each token's row of the table, by the id that stands in the token pool.
//
// Grid: (columns / 512, T), a thread for each eight elements. Memory: table row-major in its own format, output
// [T, columns]. Bound by memory, but small: T rows of the table.

import type { DType } from "../../formats/mod.ts";
import { element, formatFunctions, loadVec, rowVecs, vecHalves } from "../formats/mod.ts";
import { Word } from "../plan/words.ts";
import { type DeviceActivation, dispatch, type Forward } from "../record/context.ts";
import { type ElementType, kernel, type KernelCall, read, write } from "../shader/kernel.ts";
import { elementMain } from "../shader/reduce.ts";
import { divideUp, float, store, wgsl } from "../shader/wgsl.ts";
import type { DeviceMatrix } from "../state/weights.ts";

const threads = 64;

/** A part of the table, and where it stands in the vocabulary. */
export interface EmbedShape {
  /** Elements of a row. */
  readonly columns: number;
  /** Type of the table. */
  readonly dtype: DType;
  /** First token id of the part. */
  readonly firstId: number;
  /** Rows of the part. */
  readonly rows: number;
  /** Positions per row of the token pool. */
  readonly contextLength: number;
  /** Whether tokens that are not in the part become zeros (the table's first part) or are left alone. */
  readonly zeroOthers: boolean;
  /** Type of the result. */
  readonly output: ElementType;
  /** Factor of every number. */
  readonly scale?: number;
}

/** output[t] = part[id(t) − firstId] for `tokens` tokens. */
export function embed(shape: EmbedShape, tokens: number): KernelCall<"table" | "tokenPool" | "output"> {
  const { columns, dtype, firstId, rows, contextLength, zeroOthers, scale = 1 } = shape;
  const vecs = columns / 8, factor = scale === 1 ? "" : `${float(scale)} * `;
  const put = (low: string, high: string) =>
    [low, high].map((half, i) => `output[at + ${i}u] = ${store(shape.output, `${factor}${half}`, 4)};`).join(
      " ",
    );
  const zero = "vec4<f32>(0.0)";
  return kernel({
    key:
      `embed ${dtype} ${columns} ${firstId}+${rows} ${contextLength} ${zeroOthers} ${shape.output} ${scale}`,
    buffers: {
      table: read(element(dtype)),
      tokenPool: read("u32"),
      output: write(`vec4<${shape.output}>`),
    },
    workgroups: [divideUp(vecs, threads), tokens, 1],
    code: () =>
      wgsl`${formatFunctions([[dtype, "table", columns]])}
${elementMain(threads)} {
  if (id.x >= ${vecs}u || id.y >= plan[${Word.Tokens}]) { return; }
  let entry = plan[${Word.TokensAt}] + 2u * id.y;
  let token = tokenPool[plan[entry] * ${contextLength}u + plan[entry + 1u]] - ${firstId}u;
  let at = 2u * (id.y * ${vecs}u + id.x);
  // An id below firstId wraps around to a large number.
  if (token < ${rows}u) {
    let row = token * ${rowVecs(dtype, columns)}u;
    ${loadVec(dtype, "x", { buffer: "table", row: "row", vec: "id.x" })}
    ${put(...vecHalves(dtype, "x"))}
  }
  ${zeroOthers && `else { ${put(zero, zero)} }`}
}`,
  });
}

/** Gathers the rows of the step's tokens. */
export function recordEmbed(
  forward: Forward,
  { spec, parts }: DeviceMatrix,
  output: DeviceActivation,
  scale: number,
): void {
  const { context: { state }, shape: { tokens } } = forward;
  parts.forEach((part, i) => {
    const shape = {
      columns: spec.columns,
      dtype: spec.dtype,
      firstId: state.spec.vocabStart + part.first,
      rows: part.count,
      contextLength: state.spec.contextLength,
      zeroOthers: i === 0,
      output: output.element,
      scale,
    };
    const buffers = { table: part.buffer, tokenPool: state.tokenPool, output: output.buffer };
    dispatch(forward, embed(shape, tokens), buffers);
  });
}
