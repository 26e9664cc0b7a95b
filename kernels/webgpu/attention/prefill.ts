// Attention of prompt chunks over paged keys and values: flash attention (Dao et al. 2022, arXiv 2205.14135), causal,
// with the query heads that share a key/value head stacked as rows, so that K and V are staged once for all of them.
//
// Grid: (kvHeads · head blocks, tiles), the last tiles first because they see the most keys; a tile is a few
// consecutive tokens of one sequence. Workgroup: `rows` (token, head) rows; 4 rows × 4 keys of the scores per
// thread, a row's keys spread over `lanes` neighbouring lanes, so that maximum and sum of the online softmax need
// shuffles only, and the same 4 rows × a share of the columns of the output in registers. Q is staged in workgroup
// memory as f16, then K and V of each block in turn as f32, rows padded against bank conflicts. The next operand is
// loaded into registers while the one before it is multiplied. Slots behind a sequence's end are never read. Bound
// by workgroup memory and arithmetic. Large models take `prefill_half.ts` where the device can.

import type { HeadLayout } from "../../ops.ts";
import { type DeviceCaps, halfFrom, kernel, type KernelCall, read, write } from "../shader/kernel.ts";
import { plainMain } from "../shader/reduce.ts";
import { divideUp, float, load, range, store, wgsl, xyzw } from "../shader/wgsl.ts";
import { cacheElement, pageBuffers, scaled, slotFunction, vecHalf } from "./cache.ts";
import { halfCode, halfElements, halfTile } from "./prefill_half.ts";
import { type AttentionRole, type AttentionShape, firstKey, scoreKey, tileEntry, withSink } from "./shape.ts";
import { onlineSoftmax, strided, sumAcrossLanes } from "./softmax.ts";

/** How a workgroup is laid out. */
export interface PrefillTile {
  /** Rows of (token, head), a multiple of 4. */
  readonly rows: number;
  /** Lanes that share a row; four keys each. */
  readonly lanes: number;
  /** Query heads of a key/value head in one workgroup, and tokens of a tile. */
  readonly heads: number;
  /** Tokens of a tile. */
  readonly tokens: number;
  /** The kernel: this file's, or `prefill_half.ts`. */
  readonly kernel: "f32" | "half";
}

const candidates = [[64, 8], [32, 8], [16, 8], [8, 8], [32, 4], [16, 4], [8, 4], [4, 4]] as const;

/** vec4s (of Q: packed quads) from one staged row to the next. */
const stagedStride = (headDim: number) => headDim / 4 + 1;

/** The largest tile that fits the device; null where none does (then every query goes through the decode kernel). */
export function prefillTile(
  { numHeads, numKvHeads, headDim }: HeadLayout,
  caps: DeviceCaps,
): PrefillTile | null {
  const group = numHeads / numKvHeads;
  const half = halfTile(headDim, caps);
  // A small model's attention stays in float32, as its products do.
  if (half && (numHeads * headDim) ** 2 >= halfFrom(caps)) {
    const heads = Math.min(group, half.rows);
    return { ...half, heads, tokens: Math.floor(half.rows / heads), kernel: "half" };
  }
  for (const [rows, lanes] of candidates) {
    const bytes = (8 * rows + 64 * lanes) * stagedStride(headDim) + 16 * rows * lanes;
    if (bytes > caps.maxWorkgroupBytes || lanes > caps.minSubgroup || (caps.software && rows > 16)) continue;
    const heads = Math.min(group, rows);
    return { rows, lanes, heads, tokens: Math.floor(rows / heads), kernel: "f32" };
  }
  return null;
}

/** Attention of `tiles` tiles. */
export function prefillAttention(
  shape: AttentionShape,
  tile: PrefillTile,
  tiles: number,
): KernelCall<AttentionRole> {
  const { heads, cache } = shape;
  const blocks = divideUp(heads.numHeads / heads.numKvHeads, tile.heads);
  const isHalf = tile.kernel === "half";
  const elements = isHalf ? halfElements(shape) : { qkv: shape.qkv, cache: cacheElement(cache) };
  return kernel({
    key: `attention-prefill ${tile.kernel} ${heads.numHeads}/${heads.numKvHeads}x${heads.headDim} ` +
      `${tile.rows}x${tile.lanes} ${cache.key} ${scoreKey(shape)} ${shape.qkv} ${shape.output}`,
    buffers: {
      qkv: read(elements.qkv),
      pageTable: read("u32"),
      ...pageBuffers(cache, read),
      keys: read(elements.cache),
      values: read(elements.cache),
      sinks: shape.sinks && read("f32"),
      output: write(shape.output),
    },
    workgroups: [heads.numKvHeads * blocks, tiles, 1],
    code: () => isHalf ? halfCode(shape, tile.heads, blocks) : code(shape, tile, blocks),
  });
}

function code(shape: AttentionShape, tile: PrefillTile, blocks: number): string {
  const { heads: { numHeads, numKvHeads, headDim }, cache, window } = shape;
  const { rows, lanes } = tile;
  const threads = rows / 4 * lanes;
  const width = (numHeads + 2 * numKvHeads) * headDim;
  const quads = headDim / 4, vecs = headDim / 8;
  const stride = stagedStride(headDim);
  const keys = 4 * lanes;
  const N = range(divideUp(quads, lanes));
  // Vecs of K or V that a thread stages; the last round may be a partial one.
  const M = range(divideUp(keys * vecs, threads));
  const I = range(4);
  // Lanes beyond the head's columns repeat the first column and do not write it.
  const column = (n: number) => (n + 1) * lanes > quads ? `select(0u, c${n}, c${n} < ${quads}u)` : `c${n}`;
  const elements = range(4).map((e) => load(shape.qkv, `qkv[at + ${e}u]`)).join(", ");
  const slots = (block: string) =>
    M.map((m) => `slot${m} = slotOf(row, min(${block} + j${m}, last), kvHead);`);
  const loads = (keyword: "var " | "", buffer: "keys" | "values") =>
    M.map((m) => [
      `${keyword}loaded${m} = ${buffer}[slot${m} * ${vecs}u + part${m}];`,
      cache.int8 ? `${keyword}scale${m} = scales[slot${m}].${buffer === "keys" ? "x" : "y"};` : "",
    ]);
  const stage = M.map((m) => {
    const half = (half: 0 | 1) => scaled(cache, vecHalf(cache, `loaded${m}`, half), `scale${m}`);
    const writes = `staged[place${m}] = ${half(0)};
    staged[place${m} + 1u] = ${half(1)};`;
    return (m + 1) * threads > keys * vecs
      ? `if (thread < ${keys * vecs - m * threads}u) {\n    ${writes}\n    }`
      : writes;
  });
  return wgsl`${slotFunction(cache)}
var<workgroup> queries: array<vec2<u32>, ${rows * stride}>;
var<workgroup> staged: array<vec4<f32>, ${keys * stride}>;
var<workgroup> weights: array<vec4<f32>, ${rows * lanes}>;
${plainMain(threads)} {
  ${tileEntry(shape, tile.heads, blocks)}
  let lane = thread % ${lanes}u;
  let rowAt = 4u * (thread / ${lanes}u);
  let start = ${firstKey(window, "position")};
  ${
    M.map((m) =>
      `let j${m} = min((thread + ${m * threads}u) / ${vecs}u, ${keys - 1}u);
  let part${m} = (thread + ${m * threads}u) % ${vecs}u;
  let place${m} = j${m} * ${stride}u + 2u * part${m};
  var slot${m} = 0u;`
    )
  }
  ${slots("start")}
  ${loads("var ", "keys")}
  // Row r is head r % heads of token r / heads of the tile.
  for (var i = thread; i < ${rows * quads}u; i += ${threads}u) {
    let r = i / ${quads}u;
    let quad = i % ${quads}u;
    var q = vec4<f32>(0.0);
    if (r < tokens * ${tile.heads}u) {
      let at = (token + r / ${tile.heads}u) * ${width}u + (head + r % ${tile.heads}u) * ${headDim}u + 4u * quad;
      q = ${float(shape.scale * Math.LOG2E)} * vec4<f32>(${elements});
    }
    queries[r * ${stride}u + quad] = vec2<u32>(pack2x16float(q.xy), pack2x16float(q.zw));
  }
  ${
    I.map((i) =>
      wgsl`let p${i} = position + (rowAt + ${i}u) / ${tile.heads}u;
  var m${i} = -1e30;
  var l${i} = 0.0;
  ${N.map((n) => `var o${i}_${n} = vec4<f32>(0.0);`)}`
    )
  }
  ${N.map((n) => `let c${n} = lane + ${n * lanes}u;\n  let q${n} = ${column(n)};`)}
  for (var block = start; block <= last; block += ${keys}u) {
    workgroupBarrier();
    ${stage}
    workgroupBarrier();
    ${loads("", "values")}
    ${I.map((i) => `var s${i}_0 = vec4<f32>(0.0);`)}
    for (var d = 0u; d < ${quads}u; d++) {
      ${I.map((j) => `let k${j} = staged[(lane + ${j * lanes}u) * ${stride}u + d];`)}
      ${
    I.map((i) =>
      `let y${i} = queries[(rowAt + ${i}u) * ${stride}u + d];
      let x${i} = vec4<f32>(unpack2x16float(y${i}.x), unpack2x16float(y${i}.y));
      s${i}_0 += vec4<f32>(dot(x${i}, k0), dot(x${i}, k1), dot(x${i}, k2), dot(x${i}, k3));`
    )
  }
    }
    ${
    onlineSoftmax({
      rows: I.length,
      lanes,
      window,
      softCap: shape.softCap,
      quads: [strided(lanes)],
      outputs: (i) => N.map((n) => `o${i}_${n}`),
    })
  }
    ${I.map((i) => `weights[(rowAt + ${i}u) * ${lanes}u + lane] = w${i}_0;`)}
    workgroupBarrier();
    ${stage}
    workgroupBarrier();
    ${slots(`block + ${keys}u`)}
    ${loads("", "keys")}
    for (var j = 0u; j < ${lanes}u; j++) {
      ${I.map((i) => `let y${i} = weights[(rowAt + ${i}u) * ${lanes}u + j];`)}
      ${
    xyzw.map((e, k) =>
      N.map((n) => [
        `let v${k}_${n} = staged[(j + ${k * lanes}u) * ${stride}u + q${n}];`,
        ...I.map((i) => `o${i}_${n} += y${i}.${e} * v${k}_${n};`),
      ])
    )
  }
    }
  }
  ${sumAcrossLanes(I.length, lanes)}
  ${
    I.map((i) =>
      wgsl`if (rowAt + ${i}u < tokens * ${tile.heads}u) {
    let r = rowAt + ${i}u;
    let base = ((token + r / ${tile.heads}u) * ${numHeads}u + head + r % ${tile.heads}u) * ${headDim}u;
    let sum = ${withSink(shape, `l${i}`, `m${i}`, `head + r % ${tile.heads}u`)};
    ${
        N.map((n) => {
          const writes = wgsl`${
            xyzw.map((e, k) =>
              `output[base + 4u * c${n} + ${k}u] = ${store(shape.output, `o${i}_${n}.${e} / sum`)};`
            )
          }`;
          return (n + 1) * lanes > quads ? `if (c${n} < ${quads}u) {\n${writes}\n    }` : writes;
        })
      }
  }`
    )
  }
}`;
}
