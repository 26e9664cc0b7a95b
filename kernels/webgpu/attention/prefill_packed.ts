// Attention of prompt chunks with packed half-precision arithmetic: the flash attention of `prefill.ts` for heads of
// 64 and 128 on devices that can hold its larger tile.
//
// Grid: (kvHeads · head blocks, tiles), the last tiles first because they see the most keys. Workgroup: 64 (token,
// head) rows and `4 · lanes` keys a block; a thread owns 8 rows × 4 keys of the scores, then the same 8 rows × 8
// columns of the output, and a row's keys and columns lie on `lanes` neighbouring lanes, so that maximum and sum of
// the online softmax need shuffles only.
// Layout in workgroup memory, in units of eight f16: Q and K as [octet of the head][row], V as [key][octet], weights
// as [key][eight rows of a thread]; indices are xor-ed against bank conflicts, and arrays nested so that the indices
// which differ between unrolled statements are constants (every dynamic index is clamped).
// Scores are float32 products of f16 numbers. Weighted values are f16 products, two columns in one instruction, whose
// sums are added to float32 every 16 keys: weights lie in [0, 1], so a sum keeps its eleven bits. The next operand
// travels to registers while the one before it is multiplied. Bound by arithmetic.

import { Word } from "../plan/words.ts";
import { float, lines, range } from "../wgsl.ts";
import { slotFunction } from "./cache.ts";
import { type AttentionShape, firstKey } from "./shape.ts";
import { onlineSoftmax, strided, sumAcrossLanes } from "./softmax.ts";

/** Rows of a tile, and rows of a thread. */
export const packedRows = 64;
const threadRows = 8;

/** Keys summed in f16 before they are added to the float32 outputs. */
const flushKeys = 16;

/** Lanes that share a row: eight columns of the output each. */
export const packedLanes = (headDim: number): number => headDim / 8;

/** Bytes of workgroup memory. */
export function packedBytes(headDim: number): number {
  const keys = 4 * packedLanes(headDim);
  return 2 * (packedRows * headDim + keys * headDim + keys * packedRows);
}

/** Types of the buffers of keys, values and results, and of q|k|v. */
export const packedTypes = (
  shape: AttentionShape,
): { readonly qkv: string; readonly cache: string; readonly result: string } => ({
  qkv: `array<vec4<${shape.qkv}>>`,
  cache: "array<mat2x4<f16>>",
  result: `array<vec4<${shape.output}>>`,
});

const xyzw = "xyzw";

/** The shader; `heads` query heads of a key/value head sit in a workgroup, in `blocks` blocks. */
export function packedCode(shape: AttentionShape, heads: number, blocks: number): string {
  const { heads: { numHeads, numKvHeads, headDim }, cache, window } = shape;
  const lanes = packedLanes(headDim);
  const keys = 4 * lanes;
  const groups = packedRows / threadRows;
  const threads = lanes * groups;
  const group = numHeads / numKvHeads;
  const width = (numHeads + 2 * numKvHeads) * headDim;
  const I = range(threadRows);
  const J = range(4);
  // Octets of K or V that a thread stages.
  const M = range(keys * lanes / threads);
  const slots = (block: string) =>
    lines(M.map((m) => `slot${m} = (slotOf(row, min(${block} + key${m}, last), kvHead) >> 3u) + octet;`));
  const fetch = (buffer: string) => lines(M.map((m) => `unit${m} = ${buffer}[slot${m}];`));
  const element = (e: number) => `[${e >> 2}].${xyzw[e & 3]}`;
  const scores = `for (var o = 0u; o < ${lanes}u; o++) {
      let at = lane ^ (o & 7u);
${lines(J.map((j) => `      let k${j} = staged[o][${j}][at];`))}
${
    lines(
      range(8).map((e) =>
        `      let column${e} = vec4<f32>(${J.map((j) => `f32(k${j}${element(e)})`).join(", ")});`
      ),
    )
  }
${
    lines(I.map((i) =>
      `      let q${i} = queries[o][${i}][own];
${
        lines(
          range(8).map((e) =>
            `      s${i}_0 = fma(vec4<f32>(f32(q${i}${element(e)})), column${e}, s${i}_0);`
          ),
        )
      }`
    ))
  }
    }`;
  const softmax = `${
    onlineSoftmax({
      rows: threadRows,
      lanes,
      window,
      quads: [strided(lanes)],
      outputs: (i) => J.map((p) => `o${i}_${p}`),
    })
  }
${
    lines(J.map((j) => {
      const e = xyzw[j];
      const four = (from: number) =>
        `vec4<f16>(vec4<f32>(${J.map((i) => `w${from + i}_0.${e}`).join(", ")}))`;
      return `    weights[${j * lanes / 4}u + (lane >> 2u)][lane & 3u][own ^ (lane & 7u)] = mat2x4<f16>(${
        four(0)
      }, ${four(4)});`;
    }))
  }`;
  const flushQuads = flushKeys / 4;
  const outputs = `for (var run = 0u; run < ${lanes / flushQuads}u; run++) {
${lines(I.map((i) => `      ${J.map((p) => `var part${i}_${p} = vec2<f16>();`).join(" ")}`))}
      for (var u = 0u; u < ${flushQuads}u; u++) {
        let quad = run * ${flushQuads}u + u;
        let at = own ^ ((quad & 1u) << 2u);
${
    lines(J.map((b) =>
      `        {
          let v = staged[quad][${b}][lane];
          let w = weights[quad][${b}][at ^ ${b}u];
${
        lines(I.map((i) =>
          J.map((p) =>
            `          part${i}_${p} = fma(vec2<f16>(w${element(i)}), v[${p >> 1}].${
              p & 1 ? "zw" : "xy"
            }, part${i}_${p});`
          ).join("\n")
        ))
      }
        }`
    ))
  }
      }
${lines(I.flatMap((i) => J.map((p) => `      o${i}_${p} += vec2<f32>(part${i}_${p});`)))}
    }`;
  return `${slotFunction(cache)}
var<workgroup> queries: array<array<array<mat2x4<f16>, ${groups}>, ${threadRows}>, ${lanes}>;
var<workgroup> staged: array<array<array<mat2x4<f16>, ${lanes}>, 4>, ${lanes}>;
var<workgroup> weights: array<array<array<mat2x4<f16>, ${groups}>, 4>, ${lanes}>;
@compute @workgroup_size(${threads}) fn main(@builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) thread: u32) {
  let entry = plan[${Word.TilesAt}] + 4u * (plan[${Word.Tiles}] - 1u - group.y);
  let token = plan[entry];
  let row = plan[entry + 1u];
  let position = plan[entry + 2u];
  let tokens = plan[entry + 3u];
  let last = position + tokens - 1u;
  let kvHead = group.x / ${blocks}u;
  // The last block of a group may begin earlier and repeat heads of the one before it.
  let head = kvHead * ${group}u + min((group.x % ${blocks}u) * ${heads}u, ${group - heads}u);
  let lane = thread % ${lanes}u;
  let own = thread / ${lanes}u;
  let start = ${firstKey(window, "position")};
  // A thread stages one octet of several keys, and of several rows of Q.
  let octet = lane;
${
    lines(M.map((m) =>
      `  let key${m} = own + ${m * groups}u;
  var slot${m} = 0u;
  var unit${m} = mat2x4<f16>();`
    ))
  }
  ${slots("start")}
  ${fetch("keys")}
  // Row r is head r % heads of token r / heads of the tile; a thread multiplies rows that lie ${groups} apart.
${
    lines(I.map((i) =>
      `  {
    let r = own + ${i * groups}u;
    var low = vec4<f32>(0.0);
    var high = vec4<f32>(0.0);
    if (r < tokens * ${heads}u) {
      let at = ((token + r / ${heads}u) * ${width}u + (head + r % ${heads}u) * ${headDim}u) / 4u + 2u * octet;
      low = ${vector(shape, "qkv[at]")};
      high = ${vector(shape, "qkv[at + 1u]")};
    }
    queries[octet][${i}][own] = mat2x4<f16>(vec4<f16>(low), vec4<f16>(high));
  }
  let p${i} = position + (own + ${i * groups}u) / ${heads}u;
  var m${i} = -1e30;
  var l${i} = 0.0;
  ${J.map((p) => `var o${i}_${p} = vec2<f32>();`).join(" ")}`
    ))
  }
  for (var block = start; block <= last; block += ${keys}u) {
    workgroupBarrier();
${
    lines(
      M.map((m) =>
        `    staged[octet][key${m} / ${lanes}u][(key${m} % ${lanes}u) ^ (octet & 7u)] = unit${m};`
      ),
    )
  }
    workgroupBarrier();
    ${fetch("values")}
${lines(I.map((i) => `    var s${i}_0 = vec4<f32>();`))}
    ${scores}
    ${softmax}
    workgroupBarrier();
${lines(M.map((m) => `    staged[key${m} >> 2u][key${m} & 3u][octet] = unit${m};`))}
    workgroupBarrier();
    ${slots(`block + ${keys}u`)}
    ${fetch("keys")}
    ${outputs}
  }
${sumAcrossLanes(threadRows, lanes)}
${
    lines(I.map((i) =>
      `  if (own + ${i * groups}u < tokens * ${heads}u) {
    let r = own + ${i * groups}u;
    let at = ((token + r / ${heads}u) * ${numHeads}u + head + r % ${heads}u) * ${headDim / 4}u + 2u * lane;
    result[at] = vec4<${shape.output}>(vec4<f32>(o${i}_0, o${i}_1) / l${i});
    result[at + 1u] = vec4<${shape.output}>(vec4<f32>(o${i}_2, o${i}_3) / l${i});
  }`
    ))
  }
}`;
}

/** Four elements of q, scaled so that the softmax can use exp2. */
function vector({ scale, qkv }: AttentionShape, text: string): string {
  return `${float(scale * Math.LOG2E)} * ${qkv === "f16" ? `vec4<f32>(${text})` : text}`;
}
