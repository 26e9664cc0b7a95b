// Experts for many tokens: a tiled product over the list of (expert, pairs) tiles.
//
// Grid: (output rows / tile rows, tiles); surplus workgroups leave at once. Workgroup: threads of threadPairs ×
// threadRows each. A step of 32 input features of both operands is staged in workgroup memory, rows padded against
// bank conflicts, and multiplied four features at a time, while the next step is on its way into registers. A
// thread's rows are a column of threads apart; for gate-up they are gate and up of the same features in turn, so
// SiLU·mul needs no further pass. Results stand by pair: [pairs, width]. Bound by arithmetic for many pairs per
// expert, by reading the weights for few.

import type { DeviceCaps, KernelCall } from "../shader/kernel.ts";
import {
  loadWeight,
  octetHalves,
  octets,
  octetVariables,
  repeat,
  rowOctets,
  scaleFunction,
  unpackFunctions,
} from "../linear/finish.ts";
import { divideUp, input, kernelSource, output } from "../shader/wgsl.ts";
import { type ExpertProduct, productKey } from "./shape.ts";

/** Sizes of a workgroup's and of a thread's tile, multiples of four. */
export interface GroupedTile {
  /** Pairs of a workgroup's tile. */
  readonly pairs: number;
  /** Output rows of a workgroup's tile. */
  readonly rows: number;
  /** Pairs of a thread. */
  readonly threadPairs: number;
  /** Output rows of a thread. */
  readonly threadRows: number;
}

/** Input features staged at a time, in octets. */
const stepOctets = 4;
/** vec4s from one staged row to the next. */
const stagedStride = 2 * stepOctets + 1;

/** A tile for `pairs` pairs spread over `experts` experts. */
export function groupedTile(pairs: number, experts: number, caps: DeviceCaps): GroupedTile {
  const each = pairs / experts;
  if (caps.software) return { pairs: 16, rows: 32, threadPairs: 4, threadRows: 4 };
  if (each <= 8) return { pairs: 8, rows: 128, threadPairs: 4, threadRows: 4 };
  if (each <= 24) return { pairs: 16, rows: 64, threadPairs: 4, threadRows: 4 };
  if (each <= 48 || caps.maxWorkgroupBytes < 32768) {
    return { pairs: 32, rows: 64, threadPairs: 4, threadRows: 8 };
  }
  return { pairs: 64, rows: 128, threadPairs: 8, threadRows: 8 };
}

/** Products of `tiles` tiles at most; activations by token for gate-up, by pair (from `firstPair` on) for down. */
export function groupedProduct(
  product: ExpertProduct,
  tile: GroupedTile,
  firstPair: number,
  tiles: number,
): KernelCall<"activations" | "weights" | "order" | "tiles" | "result"> {
  const { kind, width, dtype } = product;
  const rows = kind === "gate-up" ? 2 * width : width;
  const source = kernelSource(
    `expert-grouped ${productKey(product)} ${tile.pairs}x${tile.rows} from ${firstPair}`,
    [
      input("activations", "array<vec4<f32>>"),
      input("weights", `array<${octets(dtype).element}>`),
      input("order", "array<u32>"),
      input("tiles", "array<u32>"),
      output("result", "array<f32>"),
    ],
    () => code(product, tile, firstPair),
  );
  return {
    source,
    bindings: ["activations", "weights", "order", "tiles", "result"],
    workgroups: [divideUp(rows, tile.rows), tiles, 1],
  };
}

function code(product: ExpertProduct, tile: GroupedTile, firstPair: number): string {
  const { kind, width, columns, dtype, expertsPerToken: k, firstExpert, experts } = product;
  const { threadPairs, threadRows } = tile;
  const paired = kind === "gate-up";
  const rows = paired ? 2 * width : width;
  const across = tile.rows / threadRows;
  const threads = tile.pairs / threadPairs * across;
  const columnOctets = columns / 8;
  const pairLoads = divideUp(tile.pairs * stepOctets, threads);
  const rowLoads = divideUp(tile.rows * stepOctets, threads);
  const ragged = columnOctets % stepOctets !== 0;
  const activationRow = paired ? `pair / ${k}u` : `pair - ${firstPair}u`;
  // Row t of the tile: for gate-up, blocks of `across` gate rows and of the same features' up rows in turn.
  const expertRow = paired
    ? `((t / ${across}u) & 1u) * ${width}u + min(firstRow / 2u + t % ${across}u + (t / ${
      2 * across
    }u) * ${across}u, ${width - 1}u)`
    : `min(firstRow + t, ${width - 1}u)`;
  /** Loads step `at`; features behind the last are zero in the activations, which suffices. */
  const fetch = (at: string) => {
    const inside = (m: string) => `${at} + octet${m} < ${columnOctets}u`;
    const clamp = (m: string) =>
      ragged ? `min(${at} + octet${m}, ${columnOctets - 1}u)` : `${at} + octet${m}`;
    return `${
      repeat(pairLoads, (m) => {
        const read = (half: number) => `activations[pairBase${m} + 2u * (${clamp(`P${m}`)}) + ${half}u]`;
        const guarded = (half: number) =>
          ragged ? `select(vec4<f32>(0.0), ${read(half)}, ${inside(`P${m}`)})` : read(half);
        return `    x${m}a = ${guarded(0)};\n    x${m}b = ${guarded(1)};`;
      })
    }
${repeat(rowLoads, (m) => loadWeight(dtype, "weights", `f${m}`, `rowBase${m}`, clamp(`R${m}`), "    "))}`;
  };
  const guard = (m: number, total: number, text: string) =>
    (m + 1) * threads > total ? `    if (thread < ${total - m * threads}u) {\n${text}\n    }` : text;
  const results = repeat(threadPairs, (i) => {
    const value = (r: number) => `sum${i}_${r >> 2}.${"xyzw"[r & 3]}`;
    const writes = paired
      ? repeat(threadRows / 2, (u) =>
        `      if (unit + ${u * across}u < ${width}u) {
        let gate = ${value(2 * u)};
        result[place + unit + ${u * across}u] = gate / (1.0 + exp(-gate)) * ${value(2 * u + 1)};
      }`)
      : repeat(
        threadRows,
        (r) =>
          `      if (unit + ${r * across}u < ${width}u) { result[place + unit + ${r * across}u] = ${
            value(r)
          }; }`,
      );
    return `    if (pairAt + ${i}u < count) {
      let place = (order[first + pairAt + ${i}u] - ${firstPair}u) * ${width}u;
${writes}
    }`;
  });
  return `${unpackFunctions([dtype])}
${scaleFunction(dtype, "weights", columns)}
var<workgroup> stagedPairs: array<vec4<f32>, ${tile.pairs * stagedStride}>;
var<workgroup> stagedRows: array<vec4<f32>, ${tile.rows * stagedStride}>;
@compute @workgroup_size(${threads}) fn main(@builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) thread: u32) {
  if (group.y >= tiles[0]) { return; }
  let expert = tiles[1u + 3u * group.y] - ${firstExpert}u;
  if (expert >= ${experts}u) { return; }
  let first = tiles[2u + 3u * group.y];
  let count = tiles[3u + 3u * group.y];
  let firstRow = group.x * ${tile.rows}u;
  let pairAt = ${threadPairs}u * (thread / ${across}u);
  let column = thread % ${across}u;
${
    repeat(pairLoads, (m) =>
      `  let p${m} = min((thread + ${m * threads}u) / ${stepOctets}u, ${tile.pairs - 1}u);
  let octetP${m} = (thread + ${m * threads}u) % ${stepOctets}u;
  let placeP${m} = p${m} * ${stagedStride}u + 2u * octetP${m};
  var pairBase${m} = 0u;
  { let pair = order[first + min(p${m}, count - 1u)]; pairBase${m} = (${activationRow}) * ${columns / 4}u; }
  var x${m}a = vec4<f32>(0.0);
  var x${m}b = vec4<f32>(0.0);`)
  }
${
    repeat(rowLoads, (m) =>
      `  let t${m} = min((thread + ${m * threads}u) / ${stepOctets}u, ${tile.rows - 1}u);
  let octetR${m} = (thread + ${m * threads}u) % ${stepOctets}u;
  let placeR${m} = t${m} * ${stagedStride}u + 2u * octetR${m};
  var rowBase${m} = 0u;
  { let t = t${m}; rowBase${m} = (expert * ${rows}u + ${expertRow}) * ${rowOctets(dtype, columns)}u; }
${octetVariables(dtype, `f${m}`).map(([name, type]) => `  var ${name} = ${type}();`).join("\n")}`)
  }
  ${fetch("0u")}
${repeat(threadPairs, (i) => repeat(threadRows / 4, (r) => `  var sum${i}_${r} = vec4<f32>(0.0);`))}
  for (var step = 0u; step < ${columnOctets}u; step += ${stepOctets}u) {
    workgroupBarrier();
${
    repeat(pairLoads, (m) =>
      guard(
        m,
        tile.pairs * stepOctets,
        `    stagedPairs[placeP${m}] = x${m}a;\n    stagedPairs[placeP${m} + 1u] = x${m}b;`,
      ))
  }
${
    repeat(rowLoads, (m) => {
      const [low, high] = octetHalves(dtype, `f${m}`);
      return guard(
        m,
        tile.rows * stepOctets,
        `    stagedRows[placeR${m}] = ${low};\n    stagedRows[placeR${m} + 1u] = ${high};`,
      );
    })
  }
    workgroupBarrier();
    if (step + ${stepOctets}u < ${columnOctets}u) {
${fetch(`step + ${stepOctets}u`)}
    }
    for (var q = 0u; q < ${2 * stepOctets}u; q++) {
${
    repeat(threadRows, (r) =>
      `      let w${r} = stagedRows[(column + ${r * across}u) * ${stagedStride}u + q];`)
  }
${
    repeat(threadPairs, (i) =>
      `      let v${i} = stagedPairs[(pairAt + ${i}u) * ${stagedStride}u + q];
${
        repeat(threadRows / 4, (r) => {
          const dots = [0, 1, 2, 3].map((j) => `dot(v${i}, w${4 * r + j})`).join(", ");
          return `      sum${i}_${r} += vec4<f32>(${dots});`;
        })
      }`)
  }
    }
  }
  {
    let unit = ${paired ? "firstRow / 2u" : "firstRow"} + column;
${results}
  }
}`;
}
