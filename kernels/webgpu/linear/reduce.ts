// Adds the partial sums of a product whose sum was divided (split-K), and finishes it: bias, residual, SiLU·mul. Where
// the next product is known, it prepares that one's input on the way (norm or scale, conversion to f16), as serving
// engines fuse the residual's addition with the norm behind it.
//
// Grid: (blocks of output columns, tokens); one block where the next input is prepared, because that takes the whole
// row. Workgroup: 256 threads, four columns each at a time where rows are multiples of four. Layout: parts
// [part][token][row] float32 in. The sum runs over parts in order, so results do not depend on timing. Bound by:
// latency; the partial sums are in the last-level cache.

import { kernel, type KernelCall, read, write } from "../shader/kernel.ts";
import { laneMain, plainMain } from "../shader/reduce.ts";
import { divideUp, range, wgsl, xyzw } from "../shader/wgsl.ts";
import { finishFunction, outputWidth } from "./finish.ts";
import {
  isScaled,
  type LinearRole,
  type LinearShape,
  outputKey,
  type Preparation,
  preparationKey,
} from "./linear.ts";
import { addFour, factorBuffers, rowScale, scaleFunctions } from "./prepare.ts";

const threads = 256;

/** Most columns of a row whose results fit the registers of a workgroup. */
const mostPrepared = 8 * 4 * threads;

/** Columns that a thread takes at a time. */
const vectorWidth = (shape: LinearShape): 1 | 4 => outputWidth(shape) % 4 === 0 ? 4 : 1;

/** Whether {@link reduceCall} can prepare the input of the next product. */
export function canPrepareNext(shape: LinearShape): boolean {
  return vectorWidth(shape) === 4 && outputWidth(shape) <= mostPrepared;
}

/** output = epilogue(Σ parts), and nextPrepared as `next` says. */
export function reduceCall(
  shape: LinearShape,
  tokens: number,
  split: number,
  next: Preparation | null,
): KernelCall<LinearRole> {
  const { rows, epilogue, bias, output, countWord } = shape;
  const width = outputWidth(shape);
  const paired = epilogue === "gate-mul";
  const size = vectorWidth(shape);
  const type = size === 4 ? "vec4<f32>" : "f32";
  const rounds = range(next === null ? 1 : divideUp(width, size * threads));
  const one = (name: string, e: number) => size === 4 ? `${name}.${xyzw[e]}` : name;
  const finish = (round: number) => {
    const own = `(group.x * ${threads}u + thread + ${round * threads}u)`;
    const total = (offset: number) =>
      range(split).map((i) =>
        `parts[(${i}u * tokens + token) * ${rows / size}u + ${own} + ${offset / size}u]`
      )
        .join(" + ");
    return wgsl`if (${own} < ${width / size}u) {
    let gate = ${total(0)};
    ${paired && `let up = ${total(width)};`}
    let column = ${own} * ${size}u;
    ${
      range(size).map((e) => {
        const values = [one("gate", e), ...(paired ? [one("up", e)] : [])].join(", ");
        return `${one(`y${round}`, e)} = finish(token, column + ${e}u, ${values});`;
      })
    }
  }`;
  };
  return kernel({
    key: `reduce/${rows}/${outputKey(shape)}/k${split}/${next === null ? "" : preparationKey(next)}`,
    buffers: {
      parts: read(type),
      bias: bias && read("f32"),
      output: write(output),
      ...(next === null ? {} : {
        ...factorBuffers(next, "nextNormWeight"),
        nextPrepared: write(`vec4<${next.type}>`),
      }),
    },
    workgroups: [next === null ? divideUp(width, size * threads) : 1, tokens, 1],
    code: () =>
      wgsl`${next !== null && scaleFunctions(next, threads)}
${finishFunction(shape)}
${next === null ? plainMain(threads) : laneMain(threads)} {
  let tokens = plan[${countWord}];
  let token = group.y;
  // Uniform for the workgroup: all of it leaves before the first barrier.
  if (token >= tokens) { return; }
  ${rounds.map((i) => `var y${i} = ${type}();`)}
  ${rounds.map(finish)}
  ${next !== null && prepareNext(width, rounds, next)}
}`,
  });
}

/**
 * The results of a row are in registers `y0…`, zeros behind its end. The norm's weights are loaded before the row's
 * sum is known, so that nothing waits for memory afterwards.
 */
function prepareNext(width: number, rounds: readonly number[], next: Preparation): string {
  const scaled = isScaled(next);
  const column = (round: number) => `thread + ${round * threads}u`;
  return wgsl`var found = 0.0;
  ${
    rounds.map((i) =>
      wgsl`${addFour(next, `y${i}`)}
  ${!scaled && `let g${i} = nextNormWeight[min(${column(i)}, ${width / 4 - 1}u)];`}`
    )
  }
  ${rowScale(next, width)}
  ${
    rounds.map((i) =>
      `if (${column(i)} < ${width / 4}u) {
    nextPrepared[token * ${width / 4}u + ${column(i)}] = vec4<${next.type}>(y${i} * scale${
        scaled ? "" : ` * g${i}`
      });
  }`
    )
  }`;
}
