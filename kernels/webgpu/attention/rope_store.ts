// Per-head norm of q and k (Qwen3), rotary positions (Su et al. 2021, arXiv 2104.09864), and the store of k and v
// into their pages, in one dispatch; for steps with prompts in them (`attention/own_token.ts` does it for others).
//
// Grid: (query heads + 2 · key/value heads, T), a workgroup of one subgroup per head. A thread handles elements
// i, i + 1 and their partners i + half, i + half + 1, so that a 16-bit pair of the cache is written by one thread.
// Memory: qkv [T, (heads + 2 kvHeads) · headDim]; cache [page][kvHead][slot][headDim]. Bound by launch when
// decoding, by memory otherwise.

import type { HeadLayout } from "../../ops.ts";
import type { DeviceCaps, ElementType, KernelCall } from "../shader/kernel.ts";
import { Word } from "../plan/words.ts";
import { laneArguments, laneParameters, oneSubgroup, workgroupReduction } from "../shader/reduce.ts";
import { float, input, kernelSource, load, output, store } from "../shader/wgsl.ts";
import { type CacheLayout, slotFunction } from "./cache.ts";
import type { HeadNorms } from "./shape.ts";

/** Fixed properties. */
export interface RopeStoreShape extends HeadNorms {
  /** This rank's heads. */
  readonly heads: HeadLayout;
  /** Layout of the pages. */
  readonly cache: CacheLayout;
  /** Type of q|k|v. */
  readonly qkv: ElementType;
}

/** Buffers of the kernel. */
export type RopeStoreRole = "qkv" | "cosine" | "sine" | "qNorm" | "kNorm" | "pageTable" | "keys" | "values";

/** Rotates and stores `tokens` tokens. */
export function ropeStore(
  shape: RopeStoreShape,
  tokens: number,
  caps: DeviceCaps,
): KernelCall<RopeStoreRole> {
  const { heads: { numHeads, numKvHeads, headDim }, cache, qNorm, kNorm, qkv } = shape;
  const half = headDim / 2;
  const threads = oneSubgroup(caps);
  const allHeads = numHeads + 2 * numKvHeads;
  const bindings: RopeStoreRole[] = ["qkv", "cosine", "sine"];
  if (qNorm !== null) bindings.push("qNorm");
  if (kNorm !== null) bindings.push("kNorm");
  bindings.push("pageTable", "keys", "values");
  const types: Record<RopeStoreRole, string> = {
    qkv: `array<${qkv}>`,
    cosine: "array<f32>",
    sine: "array<f32>",
    qNorm: "array<f32>",
    kNorm: "array<f32>",
    pageTable: "array<u32>",
    keys: "array<u32>",
    values: "array<u32>",
  };
  const written: readonly RopeStoreRole[] = ["qkv", "keys", "values"];
  // The norm of a head: a factor for all, and a weight per element, when the head is of that kind.
  const normStep = (epsilon: number | null, weight: RopeStoreRole, condition: string) =>
    epsilon === null ? "" : `  if (${condition}) {
    var squares = 0.0;
    for (var i = 2u * thread; i < ${half}u; i += ${2 * threads}u) {
      let v = vec4<f32>(at(base + i), at(base + i + 1u), at(base + i + ${half}u), at(base + i + ${
      half + 1
    }u));
      squares += dot(v, v);
    }
    let scale = inverseSqrt(sum(squares, ${laneArguments}) / ${float(headDim)} + ${float(epsilon)});
    for (var i = 2u * thread; i < ${half}u; i += ${2 * threads}u) {
      let weight = vec4<f32>(${weight}[i], ${weight}[i + 1u], ${weight}[i + ${half}u], ${weight}[i + ${
      half + 1
    }u]);
      turn(head, token, base, slot, i, position, scale * weight);
    }
    return;
  }`;
  const put = (buffer: string) =>
    `    ${buffer}[(slot + i) >> 1u] = pack2x16float(v.xy);
    ${buffer}[(slot + i + ${half}u) >> 1u] = pack2x16float(v.zw);`;
  const back = ["x", "y", "z", "w"].map((c, j) =>
    `    qkv[base + i + ${(j & 1) + (j >> 1) * half}u] = ${store(qkv, `v.${c}`)};`
  ).join("\n");
  const source = kernelSource(
    `rope-store ${numHeads}/${numKvHeads}x${headDim} ${qNorm} ${kNorm} ${qkv} ${cache.key}`,
    bindings.map((name) => (written.includes(name) ? output : input)(name, types[name])),
    () =>
      `${workgroupReduction("sum", "add", threads, caps)}
${slotFunction(cache)}
fn at(i: u32) -> f32 { return ${load(qkv, "qkv[i]")}; }
fn turn(head: u32, token: u32, base: u32, slot: u32, i: u32, position: u32, scale: vec4<f32>) {
  let x = scale *
    vec4<f32>(at(base + i), at(base + i + 1u), at(base + i + ${half}u), at(base + i + ${half + 1}u));
  let angle = position * ${half}u + i;
  let c = vec2<f32>(cosine[angle], cosine[angle + 1u]);
  let s = vec2<f32>(sine[angle], sine[angle + 1u]);
  let v = vec4<f32>(x.xy * c - x.zw * s, x.zw * c + x.xy * s);
  if (head < ${numHeads}u) {
${back}
  } else {
${put("keys")}
  }
}
@compute @workgroup_size(${threads}) fn main(@builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) thread: u32, ${laneParameters}) {
  let head = group.x;
  let token = group.y;
  if (token >= plan[${Word.Tokens}]) { return; }
  let entry = plan[${Word.TokensAt}] + 2u * token;
  let position = plan[entry + 1u];
  let base = (token * ${allHeads}u + head) * ${headDim}u;
  var kvHead = 0u;
  if (head >= ${numHeads + numKvHeads}u) { kvHead = head - ${numHeads + numKvHeads}u; }
  else if (head >= ${numHeads}u) { kvHead = head - ${numHeads}u; }
  let slot = slotOf(plan[entry], position, kvHead);
  if (head >= ${numHeads + numKvHeads}u) {
    for (var i = 2u * thread; i < ${half}u; i += ${2 * threads}u) {
      let v = vec4<f32>(at(base + i), at(base + i + 1u), at(base + i + ${half}u), at(base + i + ${
        half + 1
      }u));
${put("values")}
    }
    return;
  }
${normStep(qNorm, "qNorm", `head < ${numHeads}u`)}
${normStep(kNorm, "kNorm", `head >= ${numHeads}u`)}
  for (var i = 2u * thread; i < ${half}u; i += ${2 * threads}u) {
    turn(head, token, base, slot, i, position, vec4<f32>(1.0));
  }
}`,
  );
  return { source, bindings, workgroups: [allHeads, tokens, 1] };
}
