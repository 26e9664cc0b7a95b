// Sorts the pairs of many tokens by expert (a counting sort) and lists the tiles of the tiled products.
//
// Grid: one workgroup. It counts each expert's pairs in workgroup memory, adds up the counts, writes the list of
// (expert, first, count) tiles and puts every pair in its place. Pairs of an expert stand in any order: each pair's
// result is computed on its own, so the order does not show. Memory: order [pairs]; tiles [1 + 3 · tiles], their
// number first. Bound by two passes over the routes.

import { type DeviceCaps, kernel, type KernelCall, read, write } from "../shader/kernel.ts";
import { divideUp } from "../shader/wgsl.ts";

/** Fixed properties. */
export interface TileShape {
  /** Number of experts. */
  readonly experts: number;
  /** Experts that a token goes through. */
  readonly expertsPerToken: number;
  /** Pairs of a tile. */
  readonly tilePairs: number;
  /** First of the tokens that are sorted. */
  readonly firstToken: number;
  /** Most tokens that are sorted. */
  readonly mostTokens: number;
}

/** Most tiles that `tokens` tokens can make. */
export function mostTiles({ experts, expertsPerToken, tilePairs }: TileShape, tokens: number): number {
  const pairs = tokens * expertsPerToken;
  return Math.floor(pairs / tilePairs) + Math.min(experts, pairs);
}

/** Lists the tiles of the tokens. */
export function listTiles(
  shape: TileShape,
  countWord: number,
  caps: DeviceCaps,
): KernelCall<"routes" | "order" | "tiles"> {
  const { experts, expertsPerToken: k, tilePairs, firstToken, mostTokens } = shape;
  const threads = caps.software ? 32 : 256;
  const perThread = divideUp(experts, threads);
  return kernel({
    key: `expert-tiles ${experts} k${k} ${tilePairs} ${firstToken}+${mostTokens}`,
    buffers: { routes: read("vec2<u32>"), order: write("u32"), tiles: write("u32") },
    workgroups: [1, 1, 1],
    code: () =>
      `var<workgroup> counts: array<atomic<u32>, ${experts}>;
var<workgroup> pairsBefore: array<u32, ${threads}>;
var<workgroup> tilesBefore: array<u32, ${threads}>;
@compute @workgroup_size(${threads}) fn main(@builtin(local_invocation_index) thread: u32) {
  let end = min(plan[${countWord}u], ${firstToken + mostTokens}u) * ${k}u;
  for (var pair = ${firstToken * k}u + thread; pair < end; pair += ${threads}u) {
    atomicAdd(&counts[routes[pair].x], 1u);
  }
  workgroupBarrier();
  var pairs = 0u;
  var own = 0u;
  for (var i = 0u; i < ${perThread}u; i++) {
    let expert = thread * ${perThread}u + i;
    if (expert < ${experts}u) {
      let count = atomicLoad(&counts[expert]);
      pairs += count;
      own += (count + ${tilePairs - 1}u) / ${tilePairs}u;
    }
  }
  pairsBefore[thread] = pairs;
  tilesBefore[thread] = own;
  workgroupBarrier();
  if (thread == 0u) {
    var pairSum = 0u;
    var tileSum = 0u;
    for (var i = 0u; i < ${threads}u; i++) {
      let p = pairsBefore[i];
      let t = tilesBefore[i];
      pairsBefore[i] = pairSum;
      tilesBefore[i] = tileSum;
      pairSum += p;
      tileSum += t;
    }
    tiles[0] = tileSum;
  }
  workgroupBarrier();
  var first = pairsBefore[thread];
  var tile = tilesBefore[thread];
  for (var i = 0u; i < ${perThread}u; i++) {
    let expert = thread * ${perThread}u + i;
    if (expert >= ${experts}u) { break; }
    let count = atomicLoad(&counts[expert]);
    for (var done = 0u; done < count; done += ${tilePairs}u) {
      tiles[1u + 3u * tile] = expert;
      tiles[2u + 3u * tile] = first + done;
      tiles[3u + 3u * tile] = min(${tilePairs}u, count - done);
      tile++;
    }
    // From here on: where the expert's next pair goes.
    atomicStore(&counts[expert], first);
    first += count;
  }
  workgroupBarrier();
  for (var pair = ${firstToken * k}u + thread; pair < end; pair += ${threads}u) {
    order[atomicAdd(&counts[routes[pair].x], 1u)] = pair;
  }
}`,
  });
}
