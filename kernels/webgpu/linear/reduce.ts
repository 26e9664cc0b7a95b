// Adds the partial sums of a product whose sum was divided (split-K), and finishes it: bias, residual, SiLU·mul; and,
// where the next product is known, prepares its input on the way (norm or scale, conversion to f16), as serving engines
// fuse the residual's addition with the norm behind it.
//
// Grid: (blocks of output columns, tokens); one block where the next input is prepared, because that takes the whole
// row. Workgroup: 256 threads, four columns each at a time where rows are multiples of four. Layout: parts
// [part][token][row] float32 in; the sum runs over parts in order, so results do not depend on timing. Bound by:
// latency; the partial sums are in the last-level cache.

import type { KernelCall } from "../shader/kernel.ts";
import { laneParameters } from "../shader/reduce.ts";
import { isScaled, type LinearRole, type LinearShape, type Preparation, preparationKey } from "./linear.ts";
import { factorBuffer, find, meet, meetingFunctions } from "./prepare.ts";
import { declareBuffers, finishFunction, outputWidth, repeat } from "./finish.ts";

const THREADS = 256;

/** Most columns of a row whose results fit the registers of a workgroup. */
const MOST_PREPARED = 8 * 4 * THREADS;

/** Columns that a thread takes at a time. */
const vectorWidth = (shape: LinearShape): 1 | 4 => outputWidth(shape) % 4 === 0 ? 4 : 1;

/** Whether {@link reduceCall} can prepare the input of the next product. */
export function canPrepareNext(shape: LinearShape): boolean {
  return vectorWidth(shape) === 4 && outputWidth(shape) <= MOST_PREPARED;
}

/** output = epilogue(Σ parts), and nextPrepared as `next` says. */
export function reduceCall(
  shape: LinearShape,
  tokens: number,
  split: number,
  next: Preparation | null,
): KernelCall<LinearRole> {
  const bindings: LinearRole[] = ["parts"];
  if (shape.bias) bindings.push("bias");
  bindings.push("output");
  if (next !== null) bindings.push(isScaled(next) ? "rowScales" : "nextNormWeight", "nextPrepared");
  const written: readonly LinearRole[] = ["output", "rowScales", "nextPrepared"];
  const blocks = next === null ? Math.ceil(outputWidth(shape) / (vectorWidth(shape) * THREADS)) : 1;
  return {
    source: {
      key: [
        `reduce/${shape.rows}/${shape.epilogue}/${shape.bias ? "bias" : ""}/${shape.output}`,
        `s${shape.outputStride}+${shape.outputOffset}/n${shape.countWord}/k${split}`,
        next === null ? "" : preparationKey(next),
      ].join("/"),
      code: () => reduceCode(shape, split, next),
      access: bindings.map((role) => written.includes(role) ? "read_write" : "read"),
    },
    bindings,
    workgroups: [blocks, tokens, 1],
  };
}

function reduceCode(shape: LinearShape, split: number, next: Preparation | null): string {
  const width = outputWidth(shape);
  const paired = shape.epilogue === "silu-mul";
  const lanes = vectorWidth(shape);
  const type = lanes === 4 ? "vec4<f32>" : "f32";
  const rounds = next === null ? 1 : Math.ceil(width / (lanes * THREADS));
  const total = (column: string, offset: number) =>
    Array.from(
      { length: split },
      (_, i) => `parts[(${i}u * tokens + token) * ${shape.rows / lanes}u + ${column} + ${offset / lanes}u]`,
    ).join(" + ");
  const element = (name: string, e: number) => lanes === 4 ? `${name}.${"xyzw"[e]}` : name;
  const finish = (round: number) => {
    const column = `(group.x * ${THREADS}u + thread + ${round * THREADS}u)`;
    return `if (${column} < ${width / lanes}u) {
    let gate = ${total(column, 0)};
    ${paired ? `let up = ${total(column, width)};` : ""}
    let column = ${column} * ${lanes}u;
    ${
      repeat(lanes, (e) => {
        const values = [element("gate", e), ...(paired ? [element("up", e)] : [])].join(", ");
        return `${element(`y${round}`, e)} = finish(token, column + ${e}u, ${values});`;
      })
    }
  }`;
  };
  return `${shape.output === "f16" || next?.type === "f16" ? "enable f16;" : ""}
${
    declareBuffers([
      { name: "parts", element: type },
      ...(shape.bias ? [{ name: "bias", element: "f32" }] : []),
      { name: "output", element: shape.output, write: true },
      ...(next === null ? [] : [
        factorBuffer(next),
        { name: "result", element: `vec4<${next.type}>`, write: true },
      ]),
    ])
  }
${next === null ? "" : meetingFunctions(next, THREADS)}
${finishFunction(shape)}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32${
    next === null ? "" : `, ${laneParameters}`
  }) {
  let tokens = plan[${shape.countWord}];
  let token = group.y;
  // Uniform for the workgroup: all of it leaves before the first barrier.
  if (token >= tokens) { return; }
  ${repeat(rounds, (i) => `var y${i} = ${type}();`)}
  ${repeat(rounds, finish)}
  ${next === null ? "" : prepareNext(width, rounds, next)}
}
`;
}

/**
 * The results of a row are in registers `y0…`, zeros behind its end. The norm's weights are loaded before they meet, so
 * that nothing waits for memory afterwards.
 */
function prepareNext(width: number, rounds: number, next: Preparation): string {
  const scaled = isScaled(next);
  const column = (round: number) => `thread + ${round * THREADS}u`;
  return `var found = 0.0;
  ${
    repeat(rounds, (i) =>
      `${find(next, `y${i}`)}
  ${scaled ? "" : `let g${i} = normWeight[min(${column(i)}, ${width / 4 - 1}u)];`}`)
  }
  ${meet(next, width)}
  ${
    repeat(rounds, (i) =>
      `if (${column(i)} < ${width / 4}u) {
    result[token * ${width / 4}u + ${column(i)}] = vec4<${next.type}>(y${i} * scale${
        scaled ? "" : ` * g${i}`
      });
  }`)
  }`;
}
