// The attention of `prefill_half.ts` with little workgroup memory, so that two or three workgroups run on a
// multiprocessor at once (bench/NOTES.md, residency): while all warps of one wait at a barrier or for memory, another's
// multiply. Chosen by `DeviceCaps.residentAttention` until it is measured.
//
// Grid: (kvHeads · head blocks, tiles), the last tiles first because they see the most keys. With L = headDim / 8 lanes
// to a row: blocks of 4 L keys; 4 or 8 rows a thread. Scores: a thread takes 8 keys, fewer would need more conversions
// each, along one half of the head; then the two lanes that have the halves of a sum exchange four keys each. Outputs:
// the same rows × 8 columns.
// Layout in workgroup memory, in units of eight f16: K as [octet of the head][key % 8][key / 8], its place taken by V as
// [octet of keys][column], and the weights as [octet of keys][row]; indices are nested and xor-ed as in
// `prefill_half.ts`. Q is read anew for every block, in float32 through the multiprocessor's cache: no room, and no
// conversions.
// For heads of 128, 128 threads: 4 rows take 20 KiB and some 170 registers (three workgroups), 8 rows 24 KiB and all 255
// (two), with half as many loads and conversions a product. Bound by arithmetic.

import type { DeviceCaps } from "../kernel.ts";
import { Word } from "../plan/words.ts";
import { float, lines, range } from "../wgsl.ts";
import { slotFunction } from "./cache.ts";
import { element, pairSums, threadColumns } from "./octet_sums.ts";
import { type AttentionShape, firstKey, loadQuad } from "./shape.ts";
import { onlineSoftmax, sumAcrossLanes } from "./softmax.ts";

/** How a workgroup is laid out. */
export interface ResidentTile {
  /** Rows of (token, head). */
  readonly rows: number;
  /** Lanes that share a row. */
  readonly lanes: number;
  /** Rows of a thread. */
  readonly threadRows: 4 | 8;
}

/** A tile for heads of this width; null where the device has no room or no f16, or another kernel is wanted. */
export function residentTile(headDim: number, caps: DeviceCaps): ResidentTile | null {
  const wanted = caps.residentAttention;
  if (!wanted || !caps.f16 || caps.software || ![32, 64, 128].includes(headDim)) return null;
  const lanes = headDim / threadColumns;
  const groups = Math.min(lanes, 8);
  const rows = wanted * groups;
  const bytes = 8 * lanes * (headDim + rows);
  const fits = lanes <= caps.minSubgroup && lanes * groups >= caps.maxSubgroup &&
    bytes <= caps.maxWorkgroupBytes;
  return fits ? { rows, lanes, threadRows: wanted } : null;
}

const xyzw = "xyzw";
const J = range(threadColumns);

/** The shader; `heads` query heads of a key/value head sit in a workgroup, in `blocks` blocks. */
export function residentCode(
  shape: AttentionShape,
  { rows, lanes, threadRows }: ResidentTile,
  heads: number,
  blocks: number,
): string {
  const { heads: { numHeads, numKvHeads, headDim }, cache, window } = shape;
  const group = numHeads / numKvHeads;
  const width = (numHeads + 2 * numKvHeads) * headDim;
  const groups = rows / threadRows;
  const keys = 4 * lanes;
  // Lanes whose keys differ: an octet each.
  const keyLanes = lanes / 2;
  const I = range(threadRows);
  // Octets that a thread stages, of as many keys in a row: 8 or 4.
  const units = keys / groups;
  const M = range(units);
  // They lie in one page where the block begins at a multiple of them.
  const aligned = cache.pageSize >= 8;
  const first = firstKey(window, "position");
  const fetch = (buffer: "keys" | "values", from: string) =>
    aligned
      ? `{
      let near = min(${from} + ${units}u * own, last & ${2 ** 32 - units}u);
      let slot = (slotOf(row, near, kvHead) >> 3u) + lane;
${lines(M.map((m) => `      unit${m} = ${buffer}[slot + min(${m}u, last - near) * ${lanes}u];`))}
    }`
      : lines(
        M.map((m) =>
          `    unit${m} = ${buffer}[(slotOf(row, min(${from} + ${units}u * own + ${m}u, last), kvHead) >> 3u) + lane];`
        ),
      );
  // Where they go: the octet of keys, and the place of key m in it.
  const octet = units === 8 ? "own" : "(own >> 1u)";
  const inOctet = (m: number) => units === 8 ? `${m}u` : `4u * (own & 1u) + ${m}u`;
  const products = (b: number, q: number) =>
    `        {
${lines(range(4).map((j) => `          let c${j} = staged[at][${b}][${4 * q + j}][place ^ ${b}u];`))}
${
      lines(
        range(8).map((e) =>
          `          {
            let column = vec4<f32>(${range(4).map((j) => `f32(${element(`c${j}`, e)})`).join(", ")});
${
            lines(
              I.map((i) =>
                `            s${i}_${q} = fma(vec4<f32>(r${i}_${e >> 2}.${xyzw[e & 3]}), column, s${i}_${q});`
              ),
            )
          }
          }`
        ),
      )
    }
        }`;
  const step = (b: number) =>
    `      {
${
      lines(
        I.flatMap((i) =>
          [0, 1].map((e) => `        let r${i}_${e} = ${loadQuad(shape, `q${i} + 4u * at + ${2 * b + e}u`)};`)
        ),
      )
    }
${lines([0, 1].map((q) => products(b, q)))}
      }`;
  const scores = `for (var u = 0u; u < ${lanes / 4}u; u++) {
      let at = ${lanes / 4}u * side + u;
      let place = keyLane ^ ((2u * at) & ${keyLanes - 1}u);
${lines([0, 1].map(step))}
    }`;
  const exchange = lines(I.map((i) =>
    `    {
      let kept = select(s${i}_0, s${i}_1, side == 1u);
      let sent = select(s${i}_1, s${i}_0, side == 1u);
      s${i}_0 = ${float(shape.scale * Math.LOG2E)} * (kept + vec4<f32>(${
      [...xyzw].map((e) => `subgroupShuffleXor(sent.${e}, ${keyLanes}u)`).join(", ")
    }));
    }`
  ));
  const outputs = pairSums({
    rows: threadRows,
    octets: keyLanes,
    left: (b, i) => `weights[2u * u + ${b}u][${i}][at ^ ${b}u]`,
    right: (b, j) => `staged[2u * u + ${b}u][side][${j}][keyLane]`,
    at: `own ^ ((2u * u) & ${groups - 1}u)`,
    total: (i, j) => `o${i}_${j >> 2}.${xyzw[j & 3]}`,
  });
  const stageValues = lines(J.map((e) => {
    const four = (from: number) =>
      `vec4<f16>(${range(4).map((m) => element(`unit${from + m}`, e)).join(", ")})`;
    const place = `    let place${e} = 8u * lane + ((lane & 7u) ^ ${e}u);
    staged[${octet}][place${e} / ${
      8 * keyLanes
    }u][(place${e} / ${keyLanes}u) % 8u][place${e} % ${keyLanes}u]`;
    return units === 8
      ? `${place} = mat2x4<f16>(${four(0)}, ${four(4)});`
      : `${place}[own & 1u] = ${four(0)};`;
  }));
  return `${slotFunction(cache)}
var<workgroup> staged: array<array<array<array<mat2x4<f16>, ${keyLanes}>, 8>, 2>, ${keyLanes}>;
var<workgroup> weights: array<array<array<mat2x4<f16>, ${groups}>, ${threadRows}>, ${keyLanes}>;
@compute @workgroup_size(${groups * lanes}) fn main(@builtin(workgroup_id) group: vec3<u32>,
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
  // A thread stages one octet of the head.
  let lane = thread % ${lanes}u;
  let own = thread / ${lanes}u;
  let keyLane = lane % ${keyLanes}u;
  let side = lane / ${keyLanes}u;
  let start = ${window !== null && aligned ? `(${first}) & ${2 ** 32 - 8}u` : first};
${lines(M.map((m) => `  var unit${m} = mat2x4<f16>();`))}
  ${fetch("keys", "start")}
  // Row r is head r % heads of token r / heads of the tile; a thread multiplies rows that lie ${groups} apart. Rows that
  // the tile lacks repeat its last one.
${
    lines(I.map((i) =>
      `  let r${i} = min(own + ${i * groups}u, tokens * ${heads}u - 1u);
  let q${i} = ((token + r${i} / ${heads}u) * ${width}u + (head + r${i} % ${heads}u) * ${headDim}u) / 4u;
  let p${i} = position + r${i} / ${heads}u;
  var m${i} = -1e30;
  var l${i} = 0.0;
  var o${i}_0 = vec4<f32>();
  var o${i}_1 = vec4<f32>();`
    ))
  }
  for (var block = start; block <= last; block += ${keys}u) {
    workgroupBarrier();
${
    lines(M.map((m) =>
      `    staged[lane >> 1u][lane & 1u][${inOctet(m)}][${octet} ^ (lane & ${keyLanes - 1}u)] = unit${m};`
    ))
  }
    workgroupBarrier();
${lines(I.map((i) => `    var s${i}_0 = vec4<f32>();\n    var s${i}_1 = vec4<f32>();`))}
    ${scores}
    ${fetch("values", "block")}
${exchange}
${
    onlineSoftmax({
      rows: threadRows,
      lanes,
      window,
      quads: ["vec4<u32>(block + 8u * keyLane + 4u * side) + vec4<u32>(0u, 1u, 2u, 3u)"],
      outputs: (i) => [`o${i}_0`, `o${i}_1`],
      ...(window === null ? { whole: `block + ${keys - 1}u <= position` } : {}),
    })
  }
    workgroupBarrier();
${
    lines(
      I.map((i) =>
        `    weights[keyLane][${i}][own ^ (keyLane & ${groups - 1}u)][side] = vec4<f16>(w${i}_0);`
      ),
    )
  }
${stageValues}
    workgroupBarrier();
    ${fetch("keys", `block + ${keys}u`)}
    ${outputs}
  }
${sumAcrossLanes(threadRows, lanes)}
  // V's columns were permuted within octets when they were staged.
${
    lines(J.map((j) =>
      `  let at${j} = ${8 * keyLanes}u * side + ${keyLanes * j}u + keyLane;
  let column${j} = (at${j} & ~7u) | ((at${j} & 7u) ^ ((at${j} >> 3u) & 7u));`
    ))
  }
${
    lines(I.map((i) =>
      `  if (own + ${i * groups}u < tokens * ${heads}u) {
    let base = ((token + r${i} / ${heads}u) * ${numHeads}u + head + r${i} % ${heads}u) * ${headDim}u;
${
        lines(
          J.map((j) =>
            `    result[base + column${j}] = ${shape.output}(o${i}_${j >> 2}.${xyzw[j & 3]} / l${i});`
          ),
        )
      }
  }`
    ))
  }
}`;
}
