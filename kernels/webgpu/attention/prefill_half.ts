// Attention of prompt chunks with operands in half precision, for heads of 32, 64 and 128: the flash attention of
// `prefill.ts` with Q, K, V and the weights of the softmax in f16.
//
// Scores are float32 products: an error of a score is a relative error of its weight, and sums in f16 lose more there
// than they gain in time (bench/NOTES.md). Outputs are packed f16 products (weights lie in [0, 1]), added to float32
// every 32 keys.
//
// Grid: (kvHeads · head blocks, tiles), the last tiles first because they see the most keys. With L = headDim / 8 lanes:
// L² threads, 4 L (token, head) rows, blocks of 8 L keys. A thread owns 4 rows × 8 keys of the scores, then the same
// rows × 8 columns of the output; L neighbouring lanes share its rows, so that maximum and sum of the online softmax
// need shuffles only.
//
// A packed multiply–add has its full rate only if no operand is a single half of a register. So outputs are summed over
// pairs along the keys, (w₀, w₁) · (v₀, v₁), and V is transposed on its way into workgroup memory.
//
// Layout in workgroup memory, in units of eight f16: Q as [vec of the head][row], and one region for K as [vec of
// the head][key], then for the weights as [vec of keys][row] beside half of V as [vec of keys][column]. Arrays are
// nested so that the indices which differ between unrolled statements are constants (every dynamic index is clamped);
// indices are xor-ed against bank conflicts. The next operand travels to registers while the one before it is
// multiplied. Bound by arithmetic; registers and workgroup memory leave eight warps on a multiprocessor to hide its
// latency.

import { computesHalf, type DeviceCaps } from "../shader/kernel.ts";
import { plainMain } from "../shader/reduce.ts";
import { float, load, range, wgsl, xyzw } from "../shader/wgsl.ts";
import { cacheElement, slotFunction, vecHalf } from "./cache.ts";
import { type AttentionShape, firstKey, tileEntry, withSink } from "./shape.ts";
import { onlineSoftmax, sumAcrossLanes } from "./softmax.ts";
import { element, floatSums, pairSums, threadColumns, threadRows } from "./vec_sums.ts";

/** A tile for heads of this width: rows, and lanes that share a row. Null where the device has no room or no f16. */
export function halfTile(
  headDim: number,
  caps: DeviceCaps,
): { readonly rows: number; readonly lanes: number } | null {
  if (!computesHalf(caps) || ![32, 64, 128].includes(headDim)) return null;
  const lanes = headDim / threadColumns;
  const bytes = 16 * (threadRows + 8) * lanes ** 2;
  // A row's lanes are in one subgroup, and no subgroup is partly empty.
  const fits = lanes <= caps.minSubgroup && lanes ** 2 >= caps.maxSubgroup && bytes <= caps.maxWorkgroupBytes;
  return fits ? { rows: threadRows * lanes, lanes } : null;
}

/** Elements of the buffers of q|k|v and of keys and values. */
export const halfElements = ({ qkv, cache }: AttentionShape) => ({
  qkv: `vec4<${qkv}>`,
  cache: cache.int8 ? cacheElement(cache) : "mat2x4<f16>",
});

const I = range(threadRows), J = range(threadColumns);

/** The shader; `heads` query heads of a key/value head sit in a workgroup, in `blocks` blocks. */
export function halfCode(shape: AttentionShape, heads: number, blocks: number): string {
  const { heads: { numHeads, numKvHeads, headDim }, cache, window } = shape;
  const lanes = headDim / threadColumns;
  const keys = 8 * lanes, partKeys = keys / 2;
  const width = (numHeads + 2 * numKvHeads) * headDim;
  // Keys that a thread stages lie in one page where the block begins at a multiple of them.
  const aligned = cache.pageSize >= 8;
  const first = firstKey(window, "position");
  // The softmax uses exp2.
  const scale = float(shape.scale * Math.LOG2E);
  const fetch = (buffer: "keys" | "values", from: string) => {
    const [unit, count] = buffer === "keys" ? ["key", 8] : ["value", 4];
    const slot = (m: number) => aligned ? `slot + min(${m}u, last - near)` : `slot${m}`;
    return wgsl`{
      ${
      aligned
        ? `let near = min(${from} + ${count}u * own, last & ${2 ** 32 - count}u);
      let slot = slotOf(row, near, kvHead);`
        : range(count).map((m) =>
          `let slot${m} = slotOf(row, min(${from} + ${count}u * own + ${m}u, last), kvHead);`
        )
    }
      ${range(count).map((m) => `${unit}${m} = ${buffer}[(${slot(m)}) * ${lanes}u + lane];`)}
      ${
      cache.int8 &&
      range(count).map((m) => `${unit}Scale${m} = scales[${slot(m)}].${unit === "key" ? "x" : "y"};`)
    }
    }`;
  };
  const declare = (unit: "key" | "value", count: number) =>
    range(count).map((m) => [
      `var ${unit}${m} = ${cache.int8 ? "vec2<u32>" : "mat2x4<f16>"}();`,
      cache.int8 ? `var ${unit}Scale${m} = 0.0;` : "",
    ]);
  // What was fetched as it is staged: integers wait in registers as they are, two words instead of four.
  const staging = (unit: string, m: number) => {
    const half = (half: 0 | 1) => `vec4<f16>(${unit}Scale${m} * ${vecHalf(cache, `${unit}${m}`, half)})`;
    return cache.int8 ? `mat2x4<f16>(${half(0)}, ${half(1)})` : `${unit}${m}`;
  };
  const scores = floatSums({
    vecs: lanes,
    left: (b, i) => `queries[u][${b}][${i}][own]`,
    right: (b, j) => `staged[u][${b}][${j}][at ^ ${b}u]`,
    at: "lane ^ ((2u * u) & 7u)",
    total: (i, j) => `s${i}_${j >> 2}.${xyzw[j & 3]}`,
  });
  const outputs = pairSums({
    vecs: lanes / 2,
    left: (b, i) => `staged[u][${b}][4u * part + ${i}u][at ^ ${b}u]`,
    right: (b, j) => `staged[${lanes / 4}u + u][${b}][${j}][lane]`,
    at: `own ^ ((${lanes / 2}u * part + 2u * u) & 7u)`,
    total: (i, j) => `o${i}_${j >> 2}.${xyzw[j & 3]}`,
  });
  return wgsl`${slotFunction(cache)}
var<workgroup> queries: array<array<array<array<mat2x4<f16>, ${lanes}>, ${threadRows}>, 2>, ${lanes / 2}>;
var<workgroup> staged: array<array<array<array<mat2x4<f16>, ${lanes}>, 8>, 2>, ${lanes / 2}>;
${plainMain(lanes * lanes)} {
  ${tileEntry(shape, heads, blocks)}
  // A thread stages one vec of the head: of four rows of Q, eight keys, four keys of V.
  let lane = thread % ${lanes}u;
  let own = thread / ${lanes}u;
  let start = ${window !== null && aligned ? `(${first}) & ${2 ** 32 - 8}u` : first};
  ${declare("key", 8)}
  ${fetch("keys", "start")}
  // Row r is head r % heads of token r / heads of the tile; a thread multiplies rows that lie ${lanes} apart.
  ${
    I.map((i) =>
      `{
    let r = own + ${i * lanes}u;
    var low = vec4<f32>(0.0);
    var high = vec4<f32>(0.0);
    if (r < tokens * ${heads}u) {
      let at = ((token + r / ${heads}u) * ${width}u + (head + r % ${heads}u) * ${headDim}u) / 4u + 2u * lane;
      low = ${scale} * ${load(shape.qkv, "qkv[at]", 4)};
      high = ${scale} * ${load(shape.qkv, "qkv[at + 1u]", 4)};
    }
    queries[lane >> 1u][lane & 1u][${i}][own] = mat2x4<f16>(vec4<f16>(low), vec4<f16>(high));
  }
  let p${i} = position + (own + ${i * lanes}u) / ${heads}u;
  var m${i} = -1e30;
  var l${i} = 0.0;
  var o${i}_0 = vec4<f32>();
  var o${i}_1 = vec4<f32>();`
    )
  }
  for (var block = start; block <= last; block += ${keys}u) {
    workgroupBarrier();
    ${range(8).map((m) => `staged[lane >> 1u][lane & 1u][${m}][own ^ (lane & 7u)] = ${staging("key", m)};`)}
    workgroupBarrier();
    ${I.map((i) => `var s${i}_0 = vec4<f32>(); var s${i}_1 = vec4<f32>();`)}
    ${scores}
    ${declare("value", 4)}
    ${fetch("values", "block")}
    ${
    onlineSoftmax({
      rows: threadRows,
      lanes,
      window,
      softCap: shape.softCap,
      quads: [0, 4].map((e) =>
        `vec4<u32>(block + 8u * lane) + vec4<u32>(${e}u, ${e + 1}u, ${e + 2}u, ${e + 3}u)`
      ),
      outputs: (i) => [`o${i}_0`, `o${i}_1`],
      ...(window === null ? { whole: `block + ${keys - 1}u <= position` } : {}),
    })
  }
    workgroupBarrier();
    let vec = lane % ${lanes / 2}u;
    ${
    I.map((i) =>
      `staged[vec >> 1u][vec & 1u][4u * (lane / ${lanes / 2}u) + ${i}u][own ^ (lane & 7u)] =
      mat2x4<f16>(vec4<f16>(w${i}_0), vec4<f16>(w${i}_1));`
    )
  }
    // Halves of the block behind the last key are not multiplied.
    let parts = select(2u, 1u, block + ${partKeys}u > last);
    for (var part = 0u; part < parts; part++) {
      if (part > 0u) {
        workgroupBarrier();
      }
      ${range(4).map((m) => `let unit${m} = ${staging("value", m)};`)}
      ${
    J.map((e) => {
      const own = `${lanes / 4}u + (own >> 2u)`;
      const values = range(4).map((m) => element(`unit${m}`, e)).join(", ");
      return `let place${e} = 8u * lane + ((lane & 7u) ^ ${e}u);
      staged[${own}][(own >> 1u) & 1u][place${e} / ${lanes}u][place${e} % ${lanes}u][own & 1u] = vec4<f16>(${values});`;
    })
  }
      workgroupBarrier();
      if (part + 1u < parts) {
        ${fetch("values", `block + ${partKeys}u`)}
      } else {
        ${fetch("keys", `block + ${keys}u`)}
      }
      ${outputs}
    }
  }
  ${sumAcrossLanes(threadRows, lanes)}
  // V's columns were permuted within vecs when they were staged.
  ${
    J.map((j) =>
      `let at${j} = lane + ${j * lanes}u;
  let column${j} = (at${j} & ~7u) | ((at${j} & 7u) ^ ((at${j} >> 3u) & 7u));`
    )
  }
  ${
    I.map((i) =>
      wgsl`if (own + ${i * lanes}u < tokens * ${heads}u) {
    let r = own + ${i * lanes}u;
    let base = ((token + r / ${heads}u) * ${numHeads}u + head + r % ${heads}u) * ${headDim}u;
    let sum = ${withSink(shape, `l${i}`, `m${i}`, `head + r % ${heads}u`)};
    ${J.map((j) => `output[base + column${j}] = ${shape.output}(o${i}_${j >> 2}.${xyzw[j & 3]} / sum);`)}
  }`
    )
  }
}`;
}
