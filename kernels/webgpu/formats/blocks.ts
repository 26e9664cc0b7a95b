// How a kernel of one token reads weights of four and six bits: thirty-two columns of a row at a time, as loads of
// sixteen bytes, against thirty-two numbers of the input that the lane keeps.
//
// A number's bits become the upper ones of a mantissa, which costs one shift (of four bits: half of one) and one logical
// operation: 1 + n/256 or 1 + n/16 is a float32, exactly. What Σ x · (1 + n/256) has too much of, Σ x and Σ x · zero, is
// known beforehand, and the sums begin with it. So the conversion needs no subtraction for each number.

import { range, wgsl, xyzw } from "../shader/wgsl.ts";

/** Thirty-two columns of a row, from a buffer of vec4<u32>; rows are whole ones. */
export interface Blocks {
  /** Statements with what {@link multiply} needs of the input's eight vec4s `x`, under names that begin with `name`. */
  prepare(name: string, x: readonly string[]): string;
  /** Statements that load block number `block` of the row that begins at `row`, counted in vec4s. */
  load(name: string, buffer: string, row: string, block: string): string;
  /** Statements that add a loaded block's product with a prepared input to the variable `to`. */
  multiply(name: string, input: string, x: readonly string[], to: string): string;
  /** Functions that these call, for a buffer whose rows have `columns` numbers. */
  functions(buffer: string, columns: number): string;
}

/** A word of a buffer of vec4<u32>. */
export const wordOf = (buffer: string) => (index: string) => `${buffer}[(${index}) >> 2u][(${index}) & 3u]`;

const sum = (x: readonly string[]) => `dot(${x.join(" + ")}, vec4<f32>(1.0))`;

/** `to += Σ x · n`, element by element. */
const chain = (to: string, n: string, x: string) =>
  xyzw.map((e) => `${to} = fma(${n}.${e}, ${x}.${e}, ${to});`).join(" ");

/** The bytes of a word, shifted so that the lower (upper) half of each stands below the exponent. */
const spread = (word: string) => `vec4<u32>(${word} << 15u, ${word} << 7u, ${word} >> 1u, ${word} >> 9u)`;
const spreadUpper = (word: string) =>
  `vec4<u32>(${word} << 11u, ${word} << 3u, ${word} >> 5u, ${word} >> 13u)`;

const one = "vec4<u32>(0x3f800000u)";
const mantissa = (bits: string, mask: number) => `((${bits}) & vec4<u32>(${mask}u))`;
const asFloat = (bits: string) => `bitcast<vec4<f32>>(${bits} | ${one})`;

/** Four bits; `scales` is a function's name: (row in words, vec) to scale and minimum. */
export const nibbleBlocks = (
  { scales, zero, minimum }: { readonly scales: string; readonly zero: number; readonly minimum: boolean },
): Omit<Blocks, "functions"> => ({
  prepare: (name, x) => {
    const low = x.filter((_, i) => i % 2 === 0), high = x.filter((_, i) => i % 2 === 1);
    return `let ${name}_low = -${sum(low)} * ${1 + zero / 256}; let ${name}_high = -${sum(high)} * ${
      1 + zero / 16
    };` + (minimum ? ` let ${name}_all = ${sum(x)};` : "");
  },
  load: (name, buffer, row, block) =>
    `let ${name}_q = ${buffer}[${row} + ${block}]; let ${name}_s = ${scales}(${row} * 4u, (${block}) * 4u);`,
  multiply: (name, input, x, to) =>
    wgsl`{ var low = ${input}_low; var high = ${input}_high;
    ${
      range(4).map((i) =>
        `{ let bits = ${spread(`${name}_q.${xyzw[i]}`)};
    let a = ${asFloat(mantissa("bits", 15 << 15))}; let b = ${asFloat(mantissa("bits", 15 << 19))};
    ${chain("low", "a", x[2 * i]!)} ${chain("high", "b", x[2 * i + 1]!)} }`
      )
    }
    ${to} += ${name}_s.x * fma(low, 256.0, high * 16.0)${minimum ? ` + ${name}_s.y * ${input}_all` : ""}; }`,
});

/** q6_k: two bytes of upper bits for eight columns, an int8 scale for sixteen. */
export const sixBitBlocks: Blocks = {
  prepare: (name, x) =>
    range(2).map((h) => `let ${name}_${h} = -${sum(x.slice(4 * h, 4 * h + 4))} * ${1 + 32 / 256};`).join(" "),
  load: (name, buffer, row, block) =>
    `let ${name}_q = ${buffer}[${row} + ${block}]; let ${name}_u = upper_six(${row}, ${block}); ` +
    `let ${name}_s = scales_six(${row} * 4u, ${block});`,
  multiply: (name, input, x, to) =>
    wgsl`{ var half0 = ${input}_0; var half1 = ${input}_1;
    ${
      range(4).map((i) => {
        const word = `${name}_q.${xyzw[i]}`, pairs = `${name}_u.${xyzw[i >> 1]}`, at = 16 * (i & 1);
        // The pair at bit `from` goes to bits 19 and 20.
        const pair = (from: number) =>
          from < 19 ? `${pairs} << ${19 - from}u` : from > 19 ? `${pairs} >> ${from - 19}u` : pairs;
        const upper = (first: number) =>
          `vec4<u32>(${range(4).map((j) => pair(at + first + 2 * j)).join(", ")})`;
        const number = (bits: string, first: number) =>
          asFloat(`${mantissa(bits, 15 << 15)} | ${mantissa(upper(first), 3 << 19)}`);
        return `{ let a = ${number(spread(word), 0)}; let b = ${number(spreadUpper(word), 8)};
    ${chain(`half${i >> 1}`, "a", x[2 * i]!)} ${chain(`half${i >> 1}`, "b", x[2 * i + 1]!)} }`;
      })
    }
    ${to} += 256.0 * fma(${name}_s.x, half0, ${name}_s.y * half1); }`,
  functions: (buffer, columns) =>
    `fn upper_six(row: u32, block: u32) -> vec2<u32> {
  let two = ${buffer}[row + ${columns / 32}u + (block >> 1u)];
  return select(two.xy, two.zw, (block & 1u) != 0u);
}
fn scales_six(row: u32, block: u32) -> vec2<f32> {
  let at = row + ${columns * 3 / 16}u;
  let pair = unpack2x16float(${wordOf(buffer)(`at + ${columns / 64}u + (block >> 4u)`)});
  let four = bitcast<i32>(${wordOf(buffer)("at + (block >> 1u)")} << (((block & 1u) ^ 1u) * 16u));
  return select(pair.x, pair.y, (block & 8u) != 0u) * vec2<f32>(f32((four << 8u) >> 24u), f32(four >> 24u));
}`,
};
