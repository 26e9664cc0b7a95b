// RMS norm (Zhang & Sennrich 2019) of whole rows: of the sampled ones, gathered so that the output head sees only
// those whose logits are wanted, or of all (in front of experts, where several products share the result).
//
// Grid: a workgroup per row. Memory: input [T, columns], output [rows, columns]. Bound by launch.

import type { DeviceCaps, ElementType, KernelCall } from "../shader/kernel.ts";
import { contentAt, Sample, sampleWords } from "../plan/words.ts";
import { laneArguments, laneParameters, workgroupReduction } from "../shader/reduce.ts";
import { float, input, kernelSource, load, output, store } from "../shader/wgsl.ts";

/** Fixed properties. */
export interface GatherNormShape {
  /** Which rows: the plan's sampled ones, or all tokens. */
  readonly rows: "sampled" | "all";
  /** Elements of a row. */
  readonly columns: number;
  /** Added to the mean square. */
  readonly epsilon: number;
  /** Type of the input. */
  readonly input: ElementType;
  /** Type of the result. */
  readonly output: ElementType;
}

/** output[i] = norm(input[row i]) for `count` rows. */
export function gatherNorm(
  shape: GatherNormShape,
  count: number,
  caps: DeviceCaps,
): KernelCall<"input" | "weight" | "output"> {
  const { columns, epsilon } = shape;
  const threads = caps.software ? 32 : 256;
  const source = kernelSource(
    `gather-norm ${shape.rows} ${columns} ${epsilon} ${shape.input} ${shape.output}`,
    [
      input("x", `array<${shape.input}>`),
      input("weight", "array<f32>"),
      output("result", `array<${shape.output}>`),
    ],
    () =>
      `${workgroupReduction("sum", "add", threads, caps)}
@compute @workgroup_size(${threads}) fn main(@builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) thread: u32, ${laneParameters}) {
  let token = ${
        shape.rows === "all"
          ? "group.x"
          : `plan[${contentAt}u + group.x * ${sampleWords}u + ${Sample.token}u]`
      };
  let base = token * ${columns}u;
  var squares = 0.0;
  for (var i = thread; i < ${columns}u; i += ${threads}u) {
    let v = ${load(shape.input, "x[base + i]")};
    squares += v * v;
  }
  let scale = inverseSqrt(sum(squares, ${laneArguments}) / ${float(columns)} + ${float(epsilon)});
  for (var i = thread; i < ${columns}u; i += ${threads}u) {
    let v = ${load(shape.input, "x[base + i]")} * scale * weight[i];
    result[group.x * ${columns}u + i] = ${store(shape.output, "v")};
  }
}`,
  );
  return { source, bindings: ["input", "weight", "output"], workgroups: [count, 1, 1] };
}
