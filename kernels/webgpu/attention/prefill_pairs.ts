// Attention of prompt chunks with packed half-precision arithmetic in both products, for heads of 64 and 128: the flash
// attention of `prefill.ts`, laid out so that every multiply–add takes two natural pairs.
//
// Grid: (kvHeads · head blocks, tiles), the last tiles first because they see the most keys. With L = headDim / 8 lanes:
// L² threads, 4 L (token, head) rows, blocks of 8 L keys. A thread owns 4 rows × 8 keys of the scores, then the same
// rows × 8 columns of the output; L neighbouring lanes share its rows, so that maximum and sum of the online softmax
// need shuffles only.
// Packed multiply–adds reach their full rate only where no operand needs a half picked out of it. So scores are summed
// over pairs along the head, (q₀, q₁) · (k₀, k₁), and outputs over pairs along the keys, (w₀, w₁) · (v₀, v₁), for which
// V is transposed on its way into workgroup memory. The two halves meet, and are added to float32, every few products.
// Layout in workgroup memory, in units of eight f16: Q as [octet of the head][row], and one region for K as [octet of
// the head][key], then for the weights as [octet of keys][row] beside half of V as [octet of keys][column]. Arrays are
// nested so that the indices which differ between unrolled statements are constants (every dynamic index is clamped);
// indices are xor-ed against bank conflicts. The next operand travels to registers while the one before it is
// multiplied. Bound by arithmetic; 12 loads from workgroup memory for 128 multiply–adds.

import { Word } from "../plan/words.ts";
import { float, lines, range } from "../wgsl.ts";
import { slotFunction } from "./cache.ts";
import { type AttentionShape, firstKey } from "./shape.ts";
import { onlineSoftmax, sumAcrossLanes } from "./softmax.ts";

/** Rows, and keys or columns, of a thread. */
const threadRows = 4;
const threadColumns = 8;

/** Threads are a square of lanes: eight columns of the output each, by four rows each. */
export const pairLanes = (headDim: number): number => headDim / threadColumns;

/** Rows of a tile. */
export const pairRows = (headDim: number): number => threadRows * pairLanes(headDim);

/** Bytes of workgroup memory. */
export const pairBytes = (headDim: number): number => 16 * (4 + 8) * pairLanes(headDim) ** 2;

/** How many products are summed in f16, both halves of a pair counted. */
export interface PairFlushes {
  /** Of a score: 16 or 32, or 0 for float32 products. */
  readonly products: number;
  /** Of an output: 16, 32 or 64 keys. */
  readonly keys: number;
}

const xyzw = "xyzw";
const I = range(threadRows), J = range(threadColumns), M = range(8);
/** Pair p of a unit. */
const pair = (unit: string, p: number) => `${unit}[${p >> 1}].${p & 1 ? "zw" : "xy"}`;
/** Element e of a unit. */
const element = (unit: string, e: number) => `${unit}[${e >> 2}].${xyzw[e & 3]}`;

/** The shader; `heads` query heads of a key/value head sit in a workgroup, in `blocks` blocks. */
export function pairCode(
  shape: AttentionShape,
  heads: number,
  blocks: number,
  flushes: PairFlushes,
): string {
  const { heads: { numHeads, numKvHeads, headDim }, cache, window } = shape;
  const lanes = pairLanes(headDim);
  const keys = 8 * lanes, partKeys = keys / 2;
  const group = numHeads / numKvHeads;
  const width = (numHeads + 2 * numKvHeads) * headDim;
  // Keys that a thread stages lie in one page where the block begins at a multiple of them.
  const aligned = cache.pageSize >= 8;
  const first = firstKey(window, "position");
  const fetch = (buffer: "keys" | "values", from: string) => {
    const count = buffer === "keys" ? 8 : 4;
    return aligned
      ? `{
      let near = min(${from} + ${count}u * own, last & ${2 ** 32 - count}u);
      let slot = (slotOf(row, near, kvHead) >> 3u) + lane;
${
        lines(
          range(count).map((m) => `      unit${m} = ${buffer}[slot + min(${m}u, last - near) * ${lanes}u];`),
        )
      }
    }`
      : lines(
        range(count).map((m) =>
          `    unit${m} = ${buffer}[(slotOf(row, min(${from} + ${count}u * own + ${m}u, last), kvHead) >> 3u) + lane];`
        ),
      );
  };
  const scores = (flushes.products === 0 ? exactSums : sums)({
    octets: lanes,
    flush: flushes.products / 8,
    left: (b, i) => `queries[u][${b}][${i}][own]`,
    right: (b, j) => `staged[u][${b}][${j}][at ^ ${b}u]`,
    at: "lane ^ ((2u * u) & 7u)",
    total: (i, j) => `s${i}_${j >> 2}.${xyzw[j & 3]}`,
  });
  const outputs = sums({
    octets: lanes / 2,
    flush: flushes.keys / 8,
    left: (b, i) => `staged[u][${b}][4u * part + ${i}u][at ^ ${b}u]`,
    right: (b, j) => `staged[${lanes / 4}u + u][${b}][${j}][lane]`,
    at: `own ^ ((${lanes / 2}u * part + 2u * u) & 7u)`,
    total: (i, j) => `o${i}_${j >> 2}.${xyzw[j & 3]}`,
  });
  return `${slotFunction(cache)}
var<workgroup> queries: array<array<array<array<mat2x4<f16>, ${lanes}>, ${threadRows}>, 2>, ${lanes / 2}>;
var<workgroup> staged: array<array<array<array<mat2x4<f16>, ${lanes}>, 8>, 2>, ${lanes / 2}>;
@compute @workgroup_size(${lanes * lanes}) fn main(@builtin(workgroup_id) group: vec3<u32>,
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
  // A thread stages one octet of the head: of four rows of Q, eight keys, four keys of V.
  let lane = thread % ${lanes}u;
  let own = thread / ${lanes}u;
  let start = ${window !== null && aligned ? `(${first}) & ${2 ** 32 - 8}u` : first};
${lines(M.map((m) => `  var unit${m} = mat2x4<f16>();`))}
  ${fetch("keys", "start")}
  // Row r is head r % heads of token r / heads of the tile; a thread multiplies rows that lie ${lanes} apart.
${
    lines(I.map((i) =>
      `  {
    let r = own + ${i * lanes}u;
    var low = vec4<f32>(0.0);
    var high = vec4<f32>(0.0);
    if (r < tokens * ${heads}u) {
      let at = ((token + r / ${heads}u) * ${width}u + (head + r % ${heads}u) * ${headDim}u) / 4u + 2u * lane;
      low = ${vector(shape, "qkv[at]")};
      high = ${vector(shape, "qkv[at + 1u]")};
    }
    queries[lane >> 1u][lane & 1u][${i}][own] = mat2x4<f16>(vec4<f16>(low), vec4<f16>(high));
  }
  let p${i} = position + (own + ${i * lanes}u) / ${heads}u;
  var m${i} = -1e30;
  var l${i} = 0.0;
  var o${i}_0 = vec4<f32>();
  var o${i}_1 = vec4<f32>();`
    ))
  }
  for (var block = start; block <= last; block += ${keys}u) {
    workgroupBarrier();
${lines(M.map((m) => `    staged[lane >> 1u][lane & 1u][${m}][own ^ (lane & 7u)] = unit${m};`))}
    workgroupBarrier();
${lines(I.map((i) => `    var s${i}_0 = vec4<f32>();\n    var s${i}_1 = vec4<f32>();`))}
    ${scores}
    ${fetch("values", "block")}
${
    onlineSoftmax({
      rows: threadRows,
      lanes,
      window,
      quads: [0, 4].map((e) =>
        `vec4<u32>(block + 8u * lane) + vec4<u32>(${e}u, ${e + 1}u, ${e + 2}u, ${e + 3}u)`
      ),
      outputs: (i) => [`o${i}_0`, `o${i}_1`],
      ...(window === null ? { whole: `block + ${keys - 1}u <= position` } : {}),
    })
  }
    workgroupBarrier();
    let octet = lane % ${lanes / 2}u;
${
    lines(I.map((i) =>
      `    staged[octet >> 1u][octet & 1u][4u * (lane / ${
        lanes / 2
      }u) + ${i}u][own ^ (lane & 7u)] = mat2x4<f16>(vec4<f16>(w${i}_0), vec4<f16>(w${i}_1));`
    ))
  }
    // Halves of the block behind the last key are not multiplied.
    let parts = select(2u, 1u, block + ${partKeys}u > last);
    for (var part = 0u; part < parts; part++) {
      if (part > 0u) {
        workgroupBarrier();
      }
${
    lines(J.map((e) => {
      const place = `(${lanes === 8 ? "0u" : "(lane & 1u) * 8u"} + ((lane & 7u) ^ ${e}u))`;
      return `      staged[${lanes / 4}u + (own >> 2u)][(own >> 1u) & 1u][lane / ${
        lanes / 8
      }u][${place}][own & 1u] = vec4<f16>(${range(4).map((m) => element(`unit${m}`, e)).join(", ")});`;
    }))
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
  // V's columns were permuted within octets when they were staged.
${
    lines(J.map((j) =>
      `  let at${j} = lane + ${j * lanes}u;
  let column${j} = (at${j} & ~7u) | ((at${j} & 7u) ^ ((at${j} >> 3u) & 7u));`
    ))
  }
${
    lines(I.map((i) =>
      `  if (own + ${i * lanes}u < tokens * ${heads}u) {
    let r = own + ${i * lanes}u;
    let base = ((token + r / ${heads}u) * ${numHeads}u + head + r % ${heads}u) * ${headDim}u;
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

/** A product of 4 rows and 8 columns along units of eight f16, each half of a pair summed in f16. */
interface Sums {
  /** Length of the sum. */
  readonly octets: number;
  /** Octets after which sums are added to float32. */
  readonly flush: number;
  /** WGSL of an octet of a row and of a column; octet 2 u + b, with `at` as given. */
  readonly left: (b: number, row: number) => string;
  readonly right: (b: number, column: number) => string;
  readonly at: string;
  /** The float32 sum of a row and a column. */
  readonly total: (row: number, column: number) => string;
}

function sums({ octets, flush, left, right, at, total }: Sums): string {
  // Two columns at a time: enough independent sums to hide their latency, few registers.
  const two = (b: number, j: number) =>
    `        {
          let c${j} = ${right(b, j)};
          let c${j + 1} = ${right(b, j + 1)};
${
      lines([j, j + 1].flatMap((c) =>
        I.map((i) => {
          const nested = range(4).reduce(
            (sum, p) => `fma(${pair(`r${i}`, p)}, ${pair(`c${c}`, p)}, ${sum})`,
            `part${i}_${c}`,
          );
          return `          part${i}_${c} = ${nested};`;
        })
      ))
    }
        }`;
  const step = (b: number) =>
    `      {
${lines(I.map((i) => `        let r${i} = ${left(b, i)};`))}
${lines(J.filter((j) => j % 2 === 0).map((j) => two(b, j)))}
      }`;
  // Unrolled over four octets, so that a flush meets multiply–adds to overlap with; sums carried around a loop would be
  // taken apart into halves.
  const perFlush = Math.min(flush, octets) / 2, unrolled = Math.max(perFlush, 2);
  const flushed = lines(
    I.flatMap((i) => J.map((j) => `      ${total(i, j)} += f32(part${i}_${j}.x + part${i}_${j}.y);`)),
  );
  return `for (var run = 0u; run < ${octets / 2 / unrolled}u; run++) {
${lines(I.map((i) => `      ${J.map((j) => `var part${i}_${j} = vec2<f16>();`).join(" ")}`))}
${
    lines(
      range(unrolled).map((n) =>
        `      {
      let u = ${unrolled}u * run + ${n}u;
      let at = ${at};
${lines([0, 1].map(step))}
      }
${(n + 1) % perFlush === 0 ? flushed : ""}
${
          (n + 1) % perFlush === 0 && n + 1 < unrolled
            ? lines(I.map((i) => `      ${J.map((j) => `part${i}_${j} = vec2<f16>();`).join(" ")}`))
            : ""
        }`
      ),
    )
  }
    }`;
}

/** The same in float32: two f16 numbers have to be converted for every eight or four products. */
function exactSums({ octets, left, right, at, total }: Sums): string {
  const step = (b: number) =>
    `      {
${lines(I.map((i) => `        let r${i} = ${left(b, i)};`))}
${lines(J.map((j) => `        let c${j} = ${right(b, j)};`))}
${
      lines(
        range(8).map((e) =>
          `        {
${lines(I.map((i) => `          let x${i} = f32(${element(`r${i}`, e)});`))}
${lines(J.map((j) => `          let y${j} = f32(${element(`c${j}`, e)});`))}
${lines(I.flatMap((i) => J.map((j) => `          ${total(i, j)} = fma(x${i}, y${j}, ${total(i, j)});`)))}
        }`
        ),
      )
    }
      }`;
  return `for (var u = 0u; u < ${octets / 2}u; u++) {
      let at = ${at};
${lines([0, 1].map(step))}
    }`;
}

/** Four elements of q, scaled so that the softmax can use exp2. */
function vector({ scale, qkv }: AttentionShape, text: string): string {
  return `${float(scale * Math.LOG2E)} * ${qkv === "f16" ? `vec4<f32>(${text})` : text}`;
}
