// Prepares activation rows for a product: root-mean-square norm (Zhang & Sennrich 2019), or a scale that makes f16 safe,
// and conversion to the type of the product's arithmetic. Of all tokens, or only of the sampled rows, gathered so that
// the output head sees no others.
//
// Grid: one workgroup per token. Workgroup: 32–256 threads read the row with 16-byte loads, twice; the second pass
// comes from cache. Layout: [tokens, columns] in and out. Sums are float32. Normalised numbers are at most
// sqrt(columns) · |weight|. Others are divided by a power of two that leaves the largest of a row between 1 and 2, and
// `rowScales` says by which. Bound by: memory bandwidth, and by launch for few tokens.

import { element, formatFunctions, loadVec, vecHalves } from "../formats/mod.ts";
import { contentAt, Sample, sampleWords } from "../plan/words.ts";
import { type Binding, kernel, type KernelCall, read, write } from "../shader/kernel.ts";
import { anySubgroup, laneArguments, laneMain, workgroupReduction } from "../shader/reduce.ts";
import { foldGrid, gridIndex, wgsl } from "../shader/wgsl.ts";
import { isScaled, type LinearRole, type LinearShape, type Preparation, preparationKey } from "./linear.ts";

/** prepared [tokens, columns] = norm(input), or input / rowScales; `gather` takes the plan's sampled rows. */
export function prepareCall(
  { columns, input, countWord }: Pick<LinearShape, "columns" | "input" | "countWord">,
  tokens: number,
  preparation: Preparation,
  gather = false,
): KernelCall<LinearRole> {
  const threads = columns >= 2048 ? 256 : columns >= 1024 ? 128 : 32;
  const { type } = preparation;
  const scaled = isScaled(preparation);
  const rowVecs = columns / 8;
  const [low, high] = vecHalves(input, "x");
  const [weightLow, weightHigh] = scaled ? ["", ""] : [" * g_0", " * g_1"];
  const load = loadVec(input, "x", { buffer: "input", row: "source", vec: "i" });
  return kernel({
    key: `prepare/${columns}/${input}/${preparationKey(preparation)}/n${countWord}/` +
      `g${tokens > 65535 ? tokens : 1}t${threads}${gather ? "/gather" : ""}`,
    buffers: {
      input: read(element(input)),
      ...factorBuffers(preparation, "normWeight"),
      prepared: write(`vec4<${type}>`),
    },
    workgroups: [...foldGrid(tokens), 1],
    code: () =>
      wgsl`${formatFunctions([[input, "input", columns]])}
${scaleFunctions(preparation, threads)}
${laneMain(threads)} {
  let token = ${gridIndex(tokens)};
  // Uniform for the workgroup: all of it leaves before the first barrier.
  if (token >= plan[${countWord}]) { return; }
  let row = token * ${rowVecs}u;
  let source = ${
        gather ? `plan[${contentAt}u + token * ${sampleWords}u + ${Sample.token}u] * ${rowVecs}u` : "row"
      };
  var found = 0.0;
  for (var i = thread; i < ${rowVecs}u; i += ${threads}u) {
    ${load}
    let low = ${low};
    let high = ${high};
    ${addFour(preparation, "low")}
    ${addFour(preparation, "high")}
  }
  ${rowScale(preparation, columns)}
  for (var i = thread; i < ${rowVecs}u; i += ${threads}u) {
    ${load}
    ${!scaled && loadVec("f32", "g", { buffer: "normWeight", row: "0u", vec: "i", index: "i" })}
    prepared[(row + i) * 2u] = vec4<${type}>(${low} * scale${weightLow});
    prepared[(row + i) * 2u + 1u] = vec4<${type}>(${high} * scale${weightHigh});
  }
}`,
  });
}

/** The buffer behind the factor of a row: the norm's weights, or where its scale goes. */
export function factorBuffers(
  preparation: Preparation,
  norm: "normWeight" | "nextNormWeight",
): { readonly [R in LinearRole]?: Binding } {
  return isScaled(preparation) ? { rowScales: write("f32") } : { [norm]: read("vec4<f32>") };
}

/** What {@link rowScale} needs in a shader whose workgroups have `threads` threads. */
export function scaleFunctions(preparation: Preparation, threads: number): string {
  const scaled = isScaled(preparation);
  return wgsl`${workgroupReduction("reduced", scaled ? "max" : "add", threads, anySubgroup)}
${
    scaled &&
    `// The bits of the power of two at or below a number of at least 0, and its reciprocal; both are finite.
fn powerBelow(x: f32) -> u32 { return clamp(bitcast<u32>(x) & 0x7f800000u, 0x04000000u, 0x7a000000u); }
fn reciprocal(power: u32) -> f32 { return bitcast<f32>(0x7f000000u - power); }`
  }`;
}

/** Adds four numbers of a row to a thread's `found`: the sum of squares, or the largest size. */
export function addFour(preparation: Preparation, four: string): string {
  return isScaled(preparation)
    ? `{ let most = abs(${four}); found = max(found, max(max(most.x, most.y), max(most.z, most.w))); }`
    : `found += dot(${four}, ${four});`;
}

/**
 * The threads' `found` become the row's `scale`, the factor of all its numbers. Without a norm, `rowScales[token]` is
 * its reciprocal.
 */
export function rowScale(preparation: Preparation, columns: number): string {
  return `found = reduced(found, ${laneArguments});
  ${
    isScaled(preparation)
      ? `let power = powerBelow(found);
  let scale = reciprocal(power);
  if (thread == 0u) { rowScales[token] = bitcast<f32>(power); }`
      : `let scale = inverseSqrt(found / ${columns}.0 + ${preparation.normEpsilon});`
  }`;
}
