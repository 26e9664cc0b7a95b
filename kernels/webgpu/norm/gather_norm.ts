// Final norm of the sampled rows: gathers the rows whose logits are wanted and normalises them (RMS norm, Zhang &
// Sennrich 2019), so that the output head sees only those.
//
// Grid: a workgroup per sampled row. Memory: input [T, columns], output [S, columns]. Bound by launch.

import type { DeviceCaps, ElementType, KernelCall } from "../kernel.ts";
import { Sample, sampleWords, Word } from "../plan_buffer.ts";
import { laneArguments, laneParameters, workgroupReduction } from "../reduce.ts";
import { float, input, kernelSource, load, output, store } from "../wgsl.ts";

/** Fixed properties. */
export interface GatherNormShape {
  readonly columns: number;
  readonly epsilon: number;
  readonly input: ElementType;
  readonly output: ElementType;
}

/** output[s] = norm(input[token(s)]) for `samples` rows. */
export function gatherNorm(
  shape: GatherNormShape,
  samples: number,
  caps: DeviceCaps,
): KernelCall<"input" | "weight" | "output"> {
  const { columns, epsilon } = shape;
  const threads = caps.software ? 32 : 256;
  const source = kernelSource(
    `gather-norm ${columns} ${epsilon} ${shape.input} ${shape.output}`,
    [
      input("x", `array<${shape.input}>`),
      input("weight", "array<f32>"),
      output("result", `array<${shape.output}>`),
    ],
    () =>
      `${workgroupReduction("sum", "add", threads, caps)}
@compute @workgroup_size(${threads}) fn main(@builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) thread: u32, ${laneParameters}) {
  let token = plan[plan[${Word.SamplesAt}] + group.x * ${sampleWords}u + ${Sample.Token}u];
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
  return { source, bindings: ["input", "weight", "output"], workgroups: [samples, 1, 1] };
}
