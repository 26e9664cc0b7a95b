// Products of a few rows and columns of f16 numbers in workgroup memory: the inner loops of `prefill_half.ts`.
//
// Numbers come in units of eight, `mat2x4<f16>`, along the sum. In f16 a packed multiply–add takes two neighbouring
// pairs, and each half of the result is a sum of its own. On NVIDIA hardware the end of such a sum takes three
// instructions (add the halves, convert to float32 at half rate, add there), as much as five multiply–adds. Long sums
// are fast and short ones are exact: if products have one sign, the error grows with the 1.5th power of the length.

import { range, wgsl, xyzw } from "../shader/wgsl.ts";

/** Rows of a thread. */
export const threadRows = 4;
/** Its keys, then its columns of the output. */
export const threadColumns = 8;

/** Units that are summed in f16 before their sums are added to float32: 16 products in each half. */
const flush = 4;

const I = range(threadRows), J = range(threadColumns);
/** Pair p of a unit. */
const pair = (unit: string, p: number) => `${unit}[${p >> 1}].${p & 1 ? "zw" : "xy"}`;
/** Element e of a unit. */
export const element = (unit: string, e: number): string => `${unit}[${e >> 2}].${xyzw[e & 3]}`;

/** Sums of 4 rows times 8 columns along units of eight f16. */
export interface VecSums {
  /** Length of the sum. */
  readonly vecs: number;
  /** WGSL of vec 2 u + b of a row. */
  readonly left: (b: number, row: number) => string;
  /** And of a column. */
  readonly right: (b: number, column: number) => string;
  /** WGSL of an index `at` that both may use, of u. */
  readonly at: string;
  /** The float32 sum of a row and a column. */
  readonly total: (row: number, column: number) => string;
}

/** WGSL of sums in f16, a chain for each half of a pair; the halves are added in f16, and then to float32. */
export function pairSums({ vecs, left, right, at, total }: VecSums): string {
  // Two columns at a time: enough independent sums to hide their latency, few registers.
  const two = (b: number, j: number) =>
    wgsl`{
          let c${j} = ${right(b, j)};
          let c${j + 1} = ${right(b, j + 1)};
          ${
      [j, j + 1].map((c) =>
        I.map((i) => {
          const nested = range(4).reduce(
            (sum, p) => `fma(${pair(`r${i}`, p)}, ${pair(`c${c}`, p)}, ${sum})`,
            `part${i}_${c}`,
          );
          return `part${i}_${c} = ${nested};`;
        })
      )
    }
        }`;
  const step = (b: number) =>
    wgsl`{
        ${I.map((i) => `let r${i} = ${left(b, i)};`)}
        ${J.filter((j) => j % 2 === 0).map((j) => two(b, j))}
      }`;
  // Sums carried around a loop would be taken apart into halves.
  const unrolled = Math.min(flush, vecs) / 2;
  return wgsl`for (var run = 0u; run < ${vecs / 2 / unrolled}u; run++) {
      ${I.map((i) => J.map((j) => `var part${i}_${j} = vec2<f16>();`))}
      ${
    range(unrolled).map((n) =>
      wgsl`{
      let u = ${unrolled}u * run + ${n}u;
      let at = ${at};
      ${[0, 1].map(step)}
      }`
    )
  }
      ${I.map((i) => J.map((j) => `${total(i, j)} += f32(part${i}_${j}.x + part${i}_${j}.y);`))}
    }`;
}

/** WGSL of sums in float32: twelve conversions of f16 numbers for 32 products. */
export function floatSums({ vecs, left, right, at, total }: VecSums): string {
  const step = (b: number) =>
    wgsl`{
        ${I.map((i) => `let r${i} = ${left(b, i)};`)}
        ${J.map((j) => `let c${j} = ${right(b, j)};`)}
        ${
      range(8).map((e) =>
        wgsl`{
          ${I.map((i) => `let x${i} = f32(${element(`r${i}`, e)});`)}
          ${J.map((j) => `let y${j} = f32(${element(`c${j}`, e)});`)}
          ${I.map((i) => J.map((j) => `${total(i, j)} = fma(x${i}, y${j}, ${total(i, j)});`))}
        }`
      )
    }
      }`;
  return wgsl`for (var u = 0u; u < ${vecs / 2}u; u++) {
      let at = ${at};
      ${[0, 1].map(step)}
    }`;
}
