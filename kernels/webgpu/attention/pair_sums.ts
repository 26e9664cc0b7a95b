// Products of a few rows and columns of f16 numbers in workgroup memory, summed in f16 for a while and then in float32:
// the inner loops of `prefill_pairs.ts`.
//
// Numbers come in units of eight, `mat2x4<f16>`, along the sum. A packed multiply–add takes two natural pairs; each half
// of its sum is a chain of its own. On NVIDIA hardware a chain's end takes four instructions a result (both halves to
// float32, at half rate, and two additions), or three where the halves are added in f16 first: as much as six or five
// multiply–adds. So long chains are fast and short ones exact: where products have one sign, the error grows with the
// 1.5th power of the length.

import { lines, range } from "../wgsl.ts";

/** Rows, and keys or columns, of a thread. */
export const threadRows = 4;
export const threadColumns = 8;

/** How many products are summed in f16, both halves of a pair counted. */
export interface PairFlushes {
  /**
   * Of a score: 16 or 32, or "8" or "8x2" for short chains of four products in each half, whose sums are added to
   * float32, or to each other first; "0" for float32 products.
   */
  readonly products: string;
  /** Of an output: 16, 32 or 64 keys. */
  readonly keys: number;
}

const xyzw = "xyzw";
const I = range(threadRows), J = range(threadColumns);
/** Pair p of a unit. */
const pair = (unit: string, p: number) => `${unit}[${p >> 1}].${p & 1 ? "zw" : "xy"}`;
/** Element e of a unit. */
export const element = (unit: string, e: number) => `${unit}[${e >> 2}].${xyzw[e & 3]}`;

/** A product of 4 rows and 8 columns along units of eight f16, each half of a pair summed in f16. */
export interface Sums {
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

/** Chains of `flush` octets, whose halves are added in f16. */
export function sums({ octets, flush, left, right, at, total }: Sums): string {
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
  const perFlush = Math.min(flush, octets) / 2, unrolled = Math.min(octets / 2, Math.max(perFlush, 2));
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

/**
 * The same with one chain of multiply–adds per octet, more exact and with few registers: two octets of the rows are
 * held, columns come two at a time, and the halves of a pair meet in float32.
 */
export function shortSums({ octets, flush, left, right, at, total }: Sums): string {
  const chain = (b: number, i: number, j: number) =>
    [1, 2, 3].reduce(
      (sum, p) => `fma(${pair(`r${b}_${i}`, p)}, ${pair(`c${b}_${j}`, p)}, ${sum})`,
      `${pair(`r${b}_${i}`, 0)} * ${pair(`c${b}_${j}`, 0)}`,
    );
  const add = (i: number, j: number, sum: string) =>
    `          ${total(i, j)} += f32(${sum}.x) + f32(${sum}.y);`;
  const two = (j: number) =>
    `      {
${lines([0, 1].flatMap((b) => [j, j + 1].map((c) => `        let c${b}_${c} = ${right(b, c)};`)))}
${
      lines(
        [0, 1].flatMap((b) =>
          [j, j + 1].flatMap((c) => I.map((i) => `        let x${b}_${i}_${c} = ${chain(b, i, c)};`))
        ),
      )
    }
${
      lines(
        [j, j + 1].flatMap((c) =>
          I.map((i) =>
            flush === 1
              ? `${add(i, c, `x0_${i}_${c}`)}\n${add(i, c, `x1_${i}_${c}`)}`
              : `        let y${i}_${c} = x0_${i}_${c} + x1_${i}_${c};\n${add(i, c, `y${i}_${c}`)}`
          )
        ),
      )
    }
      }`;
  return `for (var u = 0u; u < ${octets / 2}u; u++) {
      let at = ${at};
${lines([0, 1].flatMap((b) => I.map((i) => `      let r${b}_${i} = ${left(b, i)};`)))}
${lines(J.filter((j) => j % 2 === 0).map(two))}
    }`;
}

/** The same in float32: two f16 numbers have to be converted for every eight or four products. */
export function exactSums({ octets, left, right, at, total }: Sums): string {
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
