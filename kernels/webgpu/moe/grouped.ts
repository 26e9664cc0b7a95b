// Experts for many tokens: a tiled product over the list of (expert, pairs) tiles.
//
// Grid: (output rows / tileRows, tiles); surplus workgroups leave at once. Workgroup: threads of 4 pairs × 4 rows
// each. A step of 32 input features of both operands is staged in workgroup memory, rows padded against bank
// conflicts, and multiplied four features at a time. For gate-up a thread's rows are gate and up of two features,
// so SiLU·mul needs no further pass. Results stand by pair: [pairs, width]. Bound by arithmetic.

import type { KernelCall } from "../kernel.ts";
import { loadOctet, octetHalves, octets, repeat, unpackFunctions } from "../linear/wgsl.ts";
import { divideUp, input, kernelSource, output } from "../wgsl.ts";
import { type ExpertProduct, productKey } from "./shape.ts";

/** Sizes of a tile, multiples of four. */
export interface GroupedTile {
  readonly pairs: number;
  readonly rows: number;
}

/** Input features staged at a time, in octets. */
const stepOctets = 4;
/** vec4s from one staged row to the next. */
const stagedStride = 2 * stepOctets + 1;

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
  const paired = kind === "gate-up";
  const rows = paired ? 2 * width : width;
  const threads = tile.pairs * tile.rows / 16;
  const columnsOfThreads = tile.rows / 4;
  const rowOctets = columns / 8;
  const [low, high] = octetHalves(dtype, "w");
  // Which row of the expert a row of the tile is: for gate-up, gate and up of a feature side by side.
  const rowOf = paired ? `(r & 1u) * ${width}u + (r >> 1u)` : "r";
  const activationRow = paired ? `pair / ${k}u` : `pair - ${firstPair}u`;
  const results = paired
    ? repeat(4, (i) =>
      repeat(2, (u) =>
        `    if (${i}u < rest && (row >> 1u) + ${u}u < ${width}u) {
      let gate = sum${i}.${"xz"[u]};
      result[pair${i} * ${width}u + (row >> 1u) + ${u}u] = gate / (1.0 + exp(-gate)) * sum${i}.${"yw"[u]};
    }`))
    : repeat(
      4,
      (i) =>
        repeat(
          4,
          (r) =>
            `    if (${i}u < rest && row + ${r}u < ${width}u) { result[pair${i} * ${width}u + row + ${r}u] = sum${i}.${
              "xyzw"[r]
            }; }`,
        ),
    );
  return `${unpackFunctions([dtype])}
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
  let pairAt = 4u * (thread / ${columnsOfThreads}u);
  let rowAt = 4u * (thread % ${columnsOfThreads}u);
${repeat(4, (i) => `  var sum${i} = vec4<f32>(0.0);`)}
  for (var step = 0u; step < ${rowOctets}u; step += ${stepOctets}u) {
    for (var i = thread; i < ${tile.pairs * stepOctets}u; i += ${threads}u) {
      let p = i / ${stepOctets}u;
      let octet = i % ${stepOctets}u;
      var a = vec4<f32>(0.0);
      var b = vec4<f32>(0.0);
      if (p < count && step + octet < ${rowOctets}u) {
        let pair = order[first + p];
        let at = (${activationRow}) * ${columns / 4}u + 2u * (step + octet);
        a = activations[at];
        b = activations[at + 1u];
      }
      stagedPairs[p * ${stagedStride}u + 2u * octet] = a;
      stagedPairs[p * ${stagedStride}u + 2u * octet + 1u] = b;
    }
    for (var i = thread; i < ${tile.rows * stepOctets}u; i += ${threads}u) {
      let t = i / ${stepOctets}u;
      let octet = i % ${stepOctets}u;
      let r = firstRow + t;
      var a = vec4<f32>(0.0);
      var b = vec4<f32>(0.0);
      if (r < ${rows}u && step + octet < ${rowOctets}u) {
        ${loadOctet(dtype, "weights", "w", `(expert * ${rows}u + ${rowOf}) * ${rowOctets}u + step + octet`)}
        a = ${low};
        b = ${high};
      }
      stagedRows[t * ${stagedStride}u + 2u * octet] = a;
      stagedRows[t * ${stagedStride}u + 2u * octet + 1u] = b;
    }
    workgroupBarrier();
    for (var q = 0u; q < ${2 * stepOctets}u; q++) {
${repeat(4, (r) => `      let w${r} = stagedRows[(rowAt + ${r}u) * ${stagedStride}u + q];`)}
${
    repeat(4, (i) =>
      `      let x${i} = stagedPairs[(pairAt + ${i}u) * ${stagedStride}u + q];
      sum${i} += vec4<f32>(dot(x${i}, w0), dot(x${i}, w1), dot(x${i}, w2), dot(x${i}, w3));`)
  }
    }
    workgroupBarrier();
  }
  if (pairAt < count) {
    let rest = count - pairAt;
    let row = firstRow + rowAt;
${repeat(4, (i) => `    let pair${i} = order[first + min(pairAt + ${i}u, count - 1u)] - ${firstPair}u;`)}
${results}
  }
}`;
}
