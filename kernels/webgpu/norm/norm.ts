// A norm by itself, for norms behind a product or over all heads of q or k; or the sum of squares that ranks add up for
// one that goes over all of them.
//
// Grid: a workgroup per token. Threads read the columns twice; the second pass comes from cache. Input and output may
// be one buffer, which is then bound once. Bound by launch for few tokens, by memory bandwidth for many.

import type { Activation, NormArgs } from "../../ops.ts";
import { Word } from "../plan/words.ts";
import { type DeviceActivation, dispatch, type Forward } from "../record/context.ts";
import { type ElementType, kernel, type KernelCall, read, write } from "../shader/kernel.ts";
import { anySubgroup, laneArguments, laneMain, workgroupReduction } from "../shader/reduce.ts";
import { foldGrid, gridIndex, load, store, wgsl } from "../shader/wgsl.ts";
import type { DeviceVector } from "../state/weights.ts";

/** Numbers of a token: where they are among others, and what they are. */
interface Columns {
  readonly first: number;
  readonly width: number;
  readonly type: ElementType;
}

/** Fixed properties. */
interface NormShape {
  /** Columns that are normalised together. */
  readonly count: number;
  readonly input: Columns;
  /** Null where it is the input. */
  readonly output: Columns | null;
  /** What is written: the normalised numbers, with this epsilon, or the sum of their squares. */
  readonly epsilon: number | null;
  readonly add: boolean;
  /** Where the sum of all ranks' squares stands, and of how many numbers. */
  readonly whole: { readonly column: number; readonly width: number; readonly count: number } | null;
}

function normCall(
  shape: NormShape,
  tokens: number,
): KernelCall<"input" | "normWeight" | "sums" | "output"> {
  const { count, input, epsilon, add, whole } = shape, output = shape.output ?? input;
  const threads = count >= 2048 ? 256 : count >= 1024 ? 128 : 32;
  const from = shape.output === null ? "output" : "input";
  const x = load(input.type, `${from}[token * ${input.width}u + ${input.first}u + i]`);
  const place = `output[token * ${output.width}u + ${output.first}u + i]`;
  const y = `${x} * scale * normWeight[i]`;
  const square = whole === null
    ? `reduced(found, ${laneArguments}) / ${count}.0`
    : `sums[token * ${whole.width}u + ${whole.column}u] / ${whole.count}.0`;
  return kernel({
    key: `norm ${JSON.stringify(shape)} ${tokens > 65535 ? tokens : 1}`,
    buffers: {
      input: shape.output !== null && read(input.type),
      normWeight: epsilon !== null && read("f32"),
      sums: whole !== null && read("f32"),
      output: write(output.type),
    },
    workgroups: [...foldGrid(tokens), 1],
    code: () =>
      wgsl`${whole === null && workgroupReduction("reduced", "add", threads, anySubgroup)}
${laneMain(threads)} {
  let token = ${gridIndex(tokens)};
  // Uniform for the workgroup: all of it leaves before the first barrier.
  if (token >= plan[${Word.Tokens}]) { return; }
  ${
        whole === null && `var found = 0.0;
  for (var i = thread; i < ${count}u; i += ${threads}u) { let x = ${x}; found += x * x; }`
      }
  ${
        epsilon === null
          ? `let total = reduced(found, ${laneArguments});
  if (thread == 0u) { output[token * ${output.width}u + ${output.first}u] = ${store(output.type, "total")}; }`
          : `let scale = inverseSqrt(${square} + ${epsilon});
  for (var i = thread; i < ${count}u; i += ${threads}u) {
    ${place} = ${store(output.type, add ? `${load(output.type, place)} + ${y}` : y)};
  }`
      }
}`,
  });
}

const columnsOf = ({ width, element: type }: DeviceActivation, first: number): Columns => ({
  width,
  type,
  first,
});

/** See `Ops.norm`. */
export function recordColumnNorm(forward: Forward, args: NormArgs): void {
  const { first, norm: { weight, epsilon }, epilogue, whole } = args;
  const input = args.input as DeviceActivation, output = args.output as DeviceActivation;
  const sums = whole?.sums as DeviceActivation | undefined;
  const call = normCall({
    count: weight.length,
    input: columnsOf(input, first),
    output: input.buffer === output.buffer ? null : columnsOf(output, first),
    epsilon,
    add: epilogue === "add",
    whole: sums === undefined ? null : { ...whole!, width: sums.width },
  }, forward.shape.tokens);
  dispatch(forward, call, {
    input: input.buffer,
    normWeight: (weight as DeviceVector).buffer,
    sums: sums?.buffer ?? null,
    output: output.buffer,
  });
}

/** See `Ops.squares`. */
export function recordSquares(
  forward: Forward,
  input: Activation,
  first: number,
  count: number,
  output: Activation,
  column: number,
): void {
  const from = input as DeviceActivation, to = output as DeviceActivation;
  const shape = { count, input: columnsOf(from, first), output: columnsOf(to, column), epsilon: null };
  const call = normCall({ ...shape, add: false, whole: null }, forward.shape.tokens);
  dispatch(forward, call, { input: from.buffer, output: to.buffer });
}
