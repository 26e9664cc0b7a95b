// Attention of single queries over paged keys and values (Dao et al., "Flash-Decoding", 2023): the keys of a
// sequence are split over workgroups, and all query heads of a key/value head sit in one, so K and V are read once.
//
// Grid: (splits, kvHeads · head blocks, queries). Workgroup: threads in gangs of L lanes; a gang takes every n-th
// batch of keys, its lanes share a key's elements (16 bytes a load) and keep the running maximum, sum and output of
// an online softmax (Milakov & Gimelshein 2018) in registers; gangs are merged at the end. A sequence with a single
// split writes its output at once, others leave partial results for `merge`. Bound by reading K and V.

import type { HeadLayout } from "../../ops.ts";
import type { DeviceCaps, ElementType, KernelCall } from "../kernel.ts";
import { Word } from "../plan_buffer.ts";
import { divideUp, float, input, kernelSource, load, output, powerOfTwo, store } from "../wgsl.ts";
import { type CacheLayout, slotFunction } from "./cache.ts";

/** Fixed properties of a layer's attention. */
export interface AttentionShape {
  readonly heads: HeadLayout;
  readonly cache: CacheLayout;
  readonly scale: number;
  readonly window: number | null;
  readonly qkv: ElementType;
  readonly output: ElementType;
}

/** Numbers of one query head and split in the partial results: the output, the maximum and the sum. */
export const partialWords = (headDim: number) => headDim + 2;

/** How the work is laid out over threads. */
interface Tuning {
  /** Lanes that share a key. */
  readonly lanes: number;
  /** Chunks of eight elements a lane handles. */
  readonly chunks: number;
  /** Query heads of a key/value head that one workgroup handles. */
  readonly headBlock: number;
  readonly gangs: number;
  /** Keys of a batch, taken together before the maximum is updated. */
  readonly batch: number;
}

function tune({ numHeads, numKvHeads, headDim }: HeadLayout, caps: DeviceCaps): Tuning {
  const total = headDim / 8;
  const lanes = Math.min(powerOfTwo(total), caps.minSubgroup);
  const chunks = divideUp(total, lanes);
  // Registers: 16 numbers (query and output) per head and chunk.
  const headBlock = Math.min(numHeads / numKvHeads, Math.max(1, Math.floor(8 / chunks)));
  const threads = Math.max(lanes, caps.software ? 32 : 128);
  const batch = caps.software ? 2 : headBlock * chunks <= 4 ? 4 : 2;
  return { lanes, chunks, headBlock, gangs: threads / lanes, batch };
}

/** Workgroups per query and split. */
export function decodeHeadBlocks(heads: HeadLayout, caps: DeviceCaps): number {
  return heads.numKvHeads * divideUp(heads.numHeads / heads.numKvHeads, tune(heads, caps).headBlock);
}

const range = (n: number) => Array.from({ length: n }, (_, i) => i);
const lines = (parts: readonly string[]) => parts.join("\n");

/** First key a query at `position` sees. */
export const firstKey = (window: number | null, position: string) =>
  window === null ? "0u" : `select(0u, ${position} - ${window - 1}u, ${position} >= ${window}u)`;

/** Attention of `queries` single queries with room for `splits` splits each. */
export function decodeAttention(
  shape: AttentionShape,
  queries: number,
  splits: number,
  caps: DeviceCaps,
): KernelCall<"qkv" | "pageTable" | "keys" | "values" | "partial" | "output"> {
  const { heads, cache, window } = shape;
  const source = kernelSource(
    `attention-decode ${heads.numHeads}/${heads.numKvHeads}x${heads.headDim} ${cache.key} ` +
      `${shape.scale} ${window} ${shape.qkv} ${shape.output}`,
    [
      input("qkv", `array<${shape.qkv}>`),
      input("pageTable", "array<u32>"),
      input("keys", cache.element === "f16" ? "array<vec4<u32>>" : "array<vec4<f32>>"),
      input("values", cache.element === "f16" ? "array<vec4<u32>>" : "array<vec4<f32>>"),
      output("partials", "array<f32>"),
      output("result", `array<${shape.output}>`),
    ],
    () => decodeCode(shape, tune(heads, caps)),
  );
  return {
    source,
    bindings: ["qkv", "pageTable", "keys", "values", "partial", "output"],
    workgroups: [splits, decodeHeadBlocks(heads, caps), queries],
  };
}

/** Statements that load chunk c of a key or value as two vec4, named by prefix. */
function loadChunk(buffer: string, element: ElementType, index: string, name: string): string {
  return element === "f16"
    ? `    let ${name}w = ${buffer}[${index}];
    let ${name}a = vec4<f32>(unpack2x16float(${name}w.x), unpack2x16float(${name}w.y));
    let ${name}b = vec4<f32>(unpack2x16float(${name}w.z), unpack2x16float(${name}w.w));`
    : `    let ${name}a = ${buffer}[2u * (${index})];
    let ${name}b = ${buffer}[2u * (${index}) + 1u];`;
}

function decodeCode(shape: AttentionShape, tuning: Tuning): string {
  const { heads: { numHeads, numKvHeads, headDim }, cache } = shape;
  const { lanes, chunks, headBlock, gangs, batch } = tuning;
  const group = numHeads / numKvHeads;
  const blocks = divideUp(group, headBlock);
  const width = (numHeads + 2 * numKvHeads) * headDim;
  const H = range(headBlock), C = range(chunks), J = range(batch);
  const partial = chunks * lanes * 8 !== headDim;
  // Lanes past the end of a head repeat its first chunk with a query of zeros, and drop their output.
  const chunkOf = (c: number) => {
    const at = c === 0 ? "part" : `part + ${c * lanes}u`;
    return partial ? `select(0u, ${at}, ${at} < ${headDim / 8}u)` : at;
  };
  const query = (h: number, c: number, side: string, offset: number) => {
    const elements = range(4).map((i) => load(shape.qkv, `qkv[at${h}_${c} + ${offset + i}u]`)).join(", ");
    return `  let q${h}_${c}${side} = factor${c} * vec4<f32>(${elements});`;
  };
  return `${slotFunction(cache)}
// Scores are in units of log2, so that the softmax uses exp2.
const least = -1e30;
var<workgroup> gangOutput: array<f32, ${gangs * headDim}>;
var<workgroup> gangMaximum: array<f32, ${gangs * headBlock}>;
var<workgroup> gangSum: array<f32, ${gangs * headBlock}>;
@compute @workgroup_size(${lanes * gangs}) fn main(@builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) thread: u32) {
  let entry = plan[${Word.DecodesAt}] + 3u * group.z;
  let token = plan[entry];
  let row = plan[entry + 1u];
  let position = plan[entry + 2u];
  let splitKeys = plan[${Word.SplitKeys}];
  let start = ${firstKey(shape.window, "position")};
  let first = start + group.x * splitKeys;
  if (first > position) { return; }
  let end = min(first + splitKeys, position + 1u);
  let single = start + splitKeys > position;
  let kvHead = group.y / ${blocks}u;
  // The last block of a group may begin earlier and repeat heads of the one before it.
  let head = kvHead * ${group}u + min((group.y % ${blocks}u) * ${headBlock}u, ${group - headBlock}u);
  let part = thread % ${lanes}u;
  let gang = thread / ${lanes}u;
${
    lines(C.map((c) =>
      `  let chunk${c} = ${chunkOf(c)};
  let factor${c} = ${partial ? `select(0.0, 1.0, part + ${c * lanes}u < ${headDim / 8}u) * ` : ""}${
        float(shape.scale * Math.LOG2E)
      };`
    ))
  }
${
    lines(H.flatMap((h) =>
      C.map((c) =>
        `  let at${h}_${c} = token * ${width}u + (head + ${h}u) * ${headDim}u + chunk${c} * 8u;
${query(h, c, "a", 0)}
${query(h, c, "b", 4)}
  var o${h}_${c}a = vec4<f32>(0.0);
  var o${h}_${c}b = vec4<f32>(0.0);`
      )
    ))
  }
${lines(H.map((h) => `  var m${h} = least;\n  var l${h} = 0.0;`))}
  for (var j = first + gang * ${batch}u; j < end; j += ${gangs * batch}u) {
${
    lines(J.map((i) =>
      `    let slot${i} = slotOf(row, min(j + ${i}u, end - 1u), kvHead) >> 3u;
${lines(C.map((c) => loadChunk("keys", cache.element, `slot${i} + chunk${c}`, `k${i}_${c}`)))}
${
        lines(H.map((h) =>
          `    var s${i}_${h} = ${
            C.map((c) => `dot(q${h}_${c}a, k${i}_${c}a) + dot(q${h}_${c}b, k${i}_${c}b)`).join(" + ")
          };`
        ))
      }`
    ))
  }
${
    lines(
      range(Math.log2(lanes)).map((step) =>
        lines(
          J.flatMap((i) => H.map((h) => `    s${i}_${h} += subgroupShuffleXor(s${i}_${h}, ${1 << step}u);`)),
        )
      ),
    )
  }
${
    lines(
      J.slice(1).map((i) =>
        `    if (j + ${i}u >= end) {\n${lines(H.map((h) => `      s${i}_${h} = -3e38;`))}\n    }`
      ),
    )
  }
${
    lines(H.map((h) =>
      `    let n${h} = ${J.reduce((text, i) => `max(${text}, s${i}_${h})`, `m${h}`)};
    let r${h} = exp2(m${h} - n${h});
    m${h} = n${h};
${lines(J.map((i) => `    let p${i}_${h} = exp2(s${i}_${h} - n${h});`))}
    l${h} = l${h} * r${h} + ${J.map((i) => `p${i}_${h}`).join(" + ")};`
    ))
  }
${
    lines(
      J.flatMap((i) =>
        C.map((c) => loadChunk("values", cache.element, `slot${i} + chunk${c}`, `v${i}_${c}`))
      ),
    )
  }
${
    lines(H.flatMap((h) =>
      C.flatMap((c) =>
        ["a", "b"].map((side) =>
          `    o${h}_${c}${side} = o${h}_${c}${side} * r${h} + ${
            J.map((i) => `p${i}_${h} * v${i}_${c}${side}`).join(" + ")
          };`
        )
      )
    ))
  }
  }
  if (part == 0u) {
${
    lines(H.map((h) =>
      `    gangMaximum[gang * ${headBlock}u + ${h}u] = m${h};
    gangSum[gang * ${headBlock}u + ${h}u] = l${h};`
    ))
  }
  }
${lines(H.map((h) => mergeGangs(shape, tuning, h)))}
}`;
}

/** Adds up the gangs' outputs of head h of the block and writes them. */
function mergeGangs(shape: AttentionShape, { lanes, chunks, headBlock, gangs }: Tuning, h: number): string {
  const { heads: { numHeads, headDim } } = shape;
  const parts = range(chunks).map((c) =>
    `  if (part + ${c * lanes}u < ${headDim / 8}u) {
    let at = gang * ${headDim}u + (part + ${c * lanes}u) * 8u;
${
      ["a", "b"].flatMap((side, s) =>
        ["x", "y", "z", "w"].map((e, i) => `    gangOutput[at + ${4 * s + i}u] = o${h}_${c}${side}.${e};`)
      ).join("\n")
    }
  }`
  ).join("\n");
  const words = partialWords(headDim);
  return `  workgroupBarrier();
${parts}
  workgroupBarrier();
  {
    var maximum = least;
    for (var i = 0u; i < ${gangs}u; i++) { maximum = max(maximum, gangMaximum[i * ${headBlock}u + ${h}u]); }
    var sum = 0.0;
    for (var i = 0u; i < ${gangs}u; i++) {
      let at = i * ${headBlock}u + ${h}u;
      sum += gangSum[at] * exp2(gangMaximum[at] - maximum);
    }
    let base = ((group.z * ${numHeads}u + head + ${h}u) * plan[${Word.Splits}] + group.x) * ${words}u;
    for (var d = thread; d < ${headDim}u; d += ${lanes * gangs}u) {
      var total = 0.0;
      for (var i = 0u; i < ${gangs}u; i++) {
        total += gangOutput[i * ${headDim}u + d] * exp2(gangMaximum[i * ${headBlock}u + ${h}u] - maximum);
      }
      if (single) {
        result[(token * ${numHeads}u + head + ${h}u) * ${headDim}u + d] = ${
    store(shape.output, "total / sum")
  };
      } else {
        partials[base + d] = total;
      }
    }
    if (!single && thread == 0u) {
      partials[base + ${headDim}u] = maximum;
      partials[base + ${headDim + 1}u] = sum;
    }
  }`;
}
