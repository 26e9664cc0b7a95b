// The online softmax of tiled attention (Milakov & Gimelshein 2018; Dao et al. 2022): a thread holds the scores of some
// rows for one or two quads of keys each, and `lanes` neighbouring lanes hold the keys of a block. Sums are scaled down
// whenever a larger score turns up.

import { capScore } from "./shape.ts";
import { range, wgsl, xyzw } from "../shader/wgsl.ts";

/** How the scores of a block are spread. */
export interface SoftmaxLayout {
  /** Rows of a thread. */
  readonly rows: number;
  /** Lanes that share a row. */
  readonly lanes: number;
  /** Keys that a query sees, itself included; null for all. */
  readonly window: number | null;
  /** WGSL of the keys of each quad of scores, `vec4<u32>`. */
  readonly quads: readonly string[];
  /** What is summed up per row besides the weights. */
  readonly outputs: (row: number) => readonly string[];
  /** As in `AttentionShape`. */
  readonly softCap?: number | null | undefined;
  /** WGSL condition, equal in the whole workgroup, under which every row sees every key of the block. */
  readonly whole?: string;
}

/** Keys of a thread that are `lanes` apart: block + lane + {0, 1, 2, 3} · lanes. */
export const strided = (lanes: number): string =>
  `vec4<u32>(block + lane) + vec4<u32>(0u, ${lanes}u, ${2 * lanes}u, ${3 * lanes}u)`;

/**
 * WGSL that turns scores `s{row}_{quad}` (in units of log2) into weights `w{row}_{quad}`, and brings maximum `m0…`,
 * this lane's sum `l0…` and the outputs of each row up to date. Row i sees keys up to its position `p{i}`, within the
 * window.
 */
export function onlineSoftmax(layout: SoftmaxLayout): string {
  const { rows, lanes, window, quads, outputs, whole } = layout;
  const I = range(rows), Q = range(quads.length);
  const seen = (i: number, q: number) =>
    window === null
      ? `column${q} <= vec4<u32>(p${i})`
      : `(column${q} <= vec4<u32>(p${i})) & (column${q} + vec4<u32>(${window}u) > vec4<u32>(p${i}))`;
  const mask = wgsl`${quads.map((keys, q) => `let column${q} = ${keys};`)}
    ${I.map((i) => Q.map((q) => `s${i}_${q} = select(vec4<f32>(-3e38), s${i}_${q}, ${seen(i, q)});`))}`;
  const largest = (i: number) => {
    const parts = Q.flatMap((q) => [
      `max(s${i}_${q}.x, s${i}_${q}.y)`,
      `max(s${i}_${q}.z, s${i}_${q}.w)`,
    ]);
    return parts.reduce((a, b) => `max(${a}, ${b})`);
  };
  const summed = (i: number) => Q.flatMap((q) => xyzw.map((e) => `w${i}_${q}.${e}`)).join(" + ");
  return wgsl`${I.map((i) => Q.map((q) => capScore(layout, `s${i}_${q}`, "vec4<f32>")))}
    ${whole === undefined ? mask : `if (!(${whole})) {\n${mask}\n    }`}
    ${I.map((i) => `var t${i} = ${largest(i)};`)}
    ${acrossLanes(rows, lanes, (i, other) => `t${i} = max(t${i}, ${other(`t${i}`)});`)}
    ${
    I.map((i) =>
      wgsl`let n${i} = max(m${i}, t${i});
    let r${i} = exp2(m${i} - n${i});
    m${i} = n${i};
    ${Q.map((q) => `let w${i}_${q} = exp2(s${i}_${q} - vec4<f32>(n${i}));`)}
    // Each lane sums its own keys; the lanes add up after the last block.
    l${i} = l${i} * r${i} + ${summed(i)};
    ${outputs(i).map((output) => `${output} *= r${i};`)}`
    )
  }`;
}

/** After the last block: the sums `l0…` of all lanes of a row. */
export function sumAcrossLanes(rows: number, lanes: number): string {
  return acrossLanes(rows, lanes, (i, other) => `  l${i} += ${other(`l${i}`)};`);
}

/** Statements for each row and each of the steps in which `lanes` lanes add up. */
function acrossLanes(
  rows: number,
  lanes: number,
  statement: (row: number, other: (value: string) => string) => string,
): string {
  return wgsl`${
    range(Math.log2(lanes)).map((step) =>
      range(rows).map((i) => statement(i, (value) => `subgroupShuffleXor(${value}, ${1 << step}u)`))
    )
  }`;
}
