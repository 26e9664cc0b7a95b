// The online softmax of tiled attention (Milakov & Gimelshein 2018; Dao et al. 2022): a thread holds the scores of some
// rows for four keys each, `lanes` neighbouring lanes hold the keys of a block, and what has been added up so far is
// scaled whenever a larger score turns up.

import { lines, range } from "../wgsl.ts";

/**
 * WGSL that turns scores `s0…` (in units of log2) of keys block + lane + {0, 1, 2, 3} · lanes into weights `w0…`, and
 * brings maximum `m0…`, this lane's sum `l0…` and the `outputs` of each row up to date. Row i sees keys up to its
 * position `p{i}`, within the window.
 */
export function onlineSoftmax(
  rows: number,
  lanes: number,
  window: number | null,
  outputs: (row: number) => readonly string[],
): string {
  const I = range(rows);
  const seen = (i: number) =>
    window === null
      ? `key <= vec4<u32>(p${i})`
      : `(key <= vec4<u32>(p${i})) & (key + vec4<u32>(${window}u) > vec4<u32>(p${i}))`;
  return `    let key = vec4<u32>(block + lane) + vec4<u32>(0u, ${lanes}u, ${2 * lanes}u, ${3 * lanes}u);
${
    lines(I.map((i) =>
      `    s${i} = select(vec4<f32>(-3e38), s${i}, ${seen(i)});
    var t${i} = max(max(s${i}.x, s${i}.y), max(s${i}.z, s${i}.w));`
    ))
  }
${acrossLanes(rows, lanes, (i, other) => `    t${i} = max(t${i}, ${other(`t${i}`)});`)}
${
    lines(I.map((i) =>
      `    let n${i} = max(m${i}, t${i});
    let r${i} = exp2(m${i} - n${i});
    m${i} = n${i};
    let w${i} = exp2(s${i} - vec4<f32>(n${i}));
    // Each lane sums its own keys; the lanes meet after the last block.
    l${i} = l${i} * r${i} + w${i}.x + w${i}.y + w${i}.z + w${i}.w;
${lines(outputs(i).map((output) => `    ${output} *= r${i};`))}`
    ))
  }`;
}

/** After the last block: the sums `l0…` of all lanes of a row. */
export function sumAcrossLanes(rows: number, lanes: number): string {
  return acrossLanes(rows, lanes, (i, other) => `  l${i} += ${other(`l${i}`)};`);
}

/** Statements for each row and each of the steps in which `lanes` lanes meet. */
function acrossLanes(
  rows: number,
  lanes: number,
  statement: (row: number, other: (value: string) => string) => string,
): string {
  return lines(
    range(Math.log2(lanes)).flatMap((step) =>
      range(rows).map((i) => statement(i, (value) => `subgroupShuffleXor(${value}, ${1 << step}u)`))
    ),
  );
}
