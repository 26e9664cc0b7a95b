// What the formats of four to six bits share (`kernels/formats/planes.ts` says how a row lies).
//
// A vec is a word of the first plane, so neighbouring lanes load neighbouring words; its upper bits and scales are a
// word or two more, which neighbouring lanes have in common. As in q8, a number becomes a float32 by being put into
// the lowest bits of one.

import { planeStarts } from "../../formats/planes.ts";
import { nibbleBlocks, wordOf } from "./blocks.ts";
import type { WebGpuFormat } from "./format.ts";

/** What tells one of these formats from another. */
export interface PlaneShader {
  /** In the names of its functions. */
  readonly name: string;
  /** Bits of a number. */
  readonly bits: 4 | 5 | 6;
  /** The stored number that means 0 · scale. */
  readonly zero: number;
  /** Whether groups have a minimum. */
  readonly minimum: boolean;
  /**
   * Body of a function that returns a vec's scale and minimum as vec2<f32>: of the buffer's words, which from `at` on
   * are the row's scales, for vec number `vec` of a row of `columns` numbers.
   */
  readonly scales: (word: (index: string) => string, columns: number) => string;
}

/** A format of such planes in WGSL. */
export function planeFormat({ name, bits, zero, minimum, scales }: PlaneShader): WebGpuFormat {
  const half = (v: string, shift: number) => {
    const upper = bits === 4 ? "0u" : `(${v}_h >> ${shift * (bits - 4)}u)`;
    return `unpack_${name}(${v}_0${shift === 0 ? "" : ` >> ${shift}u`}, ${upper})`;
  };
  const mask = 2 ** (bits - 4) - 1;
  // From 2²³ + number: less 2²³ + zero.
  const unpack = `fn unpack_${name}(w: u32, upper: u32) -> vec4<f32> {
  let low = (vec4<u32>(w) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u);
  ${
    bits === 4
      ? "let all = low;"
      : `let all = low | (((vec4<u32>(upper) >> vec4<u32>(${
        [0, 1, 2, 3].map((i) => `${i * (bits - 4)}u`).join(", ")
      })) & vec4<u32>(${mask}u)) << vec4<u32>(4u));`
  }
  return bitcast<vec4<f32>>(all | vec4<u32>(0x4b000000u)) - vec4<f32>(${8388608 + zero}.0);
}`;
  const scalesFunction = (word: (index: string) => string, columns: number) =>
    `fn scales_${name}(row: u32, vec: u32) -> vec2<f32> {
  let at = row + ${planeStarts(bits, columns).scales / 4}u;
  ${scales(word, columns)}
}`;
  return {
    element: "u32",
    vecBytes: 4,
    half: true,
    variables: (v) => [
      [`${v}_0`, "u32"],
      ...(bits === 4 ? [] : [[`${v}_h`, "u32"]] as const),
      [`${v}_s`, "vec2<f32>"],
    ],
    load: (v, { buffer, row, vec, index = `${row} + ${vec}` }, keyword) =>
      `${keyword}${v}_0 = ${buffer}[${index}]; ` +
      (bits === 4 ? "" : `${keyword}${v}_h = upper_${name}(${row}, ${vec}); `) +
      `${keyword}${v}_s = scales_${name}(${row}, ${vec});`,
    numbers: (v) => [half(v, 0), half(v, 4)],
    scale: (v) => `${v}_s.x`,
    ...(minimum ? { minimum: (v: string) => `${v}_s.y` } : {}),
    functions(buffer, columns) {
      const starts = planeStarts(bits, columns);
      // 32 / bits of a vec: vecs whose upper bits share a word.
      const shared = bits === 5 ? 4 : 2;
      const upper = bits === 4 ? "" : `fn upper_${name}(row: u32, vec: u32) -> u32 {
  return ${buffer}[row + ${starts.high / 4}u + vec / ${shared}u] >> (vec % ${shared}u * ${32 / shared}u);
}`;
      return `${unpack}
${upper}
${scalesFunction((index) => `${buffer}[${index}]`, columns)}`;
    },
    // Of six bits, scales are for sixteen columns: see `q6_k.ts`.
    ...(bits !== 4 ? {} : {
      blocks: {
        ...nibbleBlocks({ scales: `scales_${name}`, zero, minimum }),
        functions: (buffer: string, columns: number) => scalesFunction(wordOf(buffer), columns),
      },
    }),
  };
}

/** Scales as `kernels/formats/k_scales.ts` has them: a word has the pairs of two groups. */
export const kScales = (word: (index: string) => string, columns: number): string =>
  `let outer = unpack2x16float(${word(`at + ${columns / 64}u + (vec >> 5u)`)});
  let pair = ${word(`at + (vec >> 3u)`)} >> ((vec & 4u) << 2u);
  return outer * vec2<f32>(f32(pair & 255u), -f32((pair >> 8u) & 255u));`;
