// The part of decode attention that deals with the query's own token: norm and rotation of q and k, and the store of k
// and v. A dispatch of its own for these would take longer to start than to run.
//
// Each group of lanes takes one head of q, k or v (`rotation.ts`). What comes out goes to all of them through workgroup
// memory. The loads are issued before those of the cached keys, the rest happens while these are on their way. The own
// key and value never come from the cache, where another workgroup may be writing them. In the workgroup whose keys end
// with the own one, the last group of lanes, which had no head to rotate, begins its softmax with it, rounded as the
// cache holds it.

import { divideUp, range, wgsl } from "../shader/wgsl.ts";
import { cacheElement, packQuad, quadElement, scaled, vecHalf } from "./cache.ts";
import { declareHead, guarded, largestOfHead, loadHead, rotateHead } from "./rotation.ts";
import { type AttentionShape, capScore, type HeadNorms } from "./shape.ts";
import type { Tuning } from "./tuning.ts";

/** Pieces of WGSL for `decode.ts`, in the order in which they stand there. */
export interface OwnTokenCode {
  /** Workgroup memory. */
  readonly declarations: string;
  /** Loads of all that is needed. */
  readonly loads: string;
  /** Norms and rotation, up to the barrier after which every lane can read the queries. */
  readonly rotation: string;
  /** Elements 4 · quad … of head h of the block. */
  readonly query: (h: number, quad: string) => string;
  /** Store of k and v, and the softmax after the own key; sets `m`, `l` and `o` of all heads. */
  readonly begin: string;
}

/** WGSL for a block of heads, over what `decode.ts` has declared. */
export function ownToken(shape: AttentionShape, norms: HeadNorms, tuning: Tuning): OwnTokenCode {
  const { heads: { numHeads, numKvHeads, headDim }, cache } = shape;
  const { lanes, chunks, headBlock, threads } = tuning;
  const quads = headDim / 4;
  const laneGroups = threads / lanes;
  const blocks = divideUp(numHeads / numKvHeads, headBlock);
  const rotated = { heads: shape.heads, qkv: shape.qkv, norms, lanes, chunks };
  // The block's heads of q, then k, then v; where there are fewer lane groups they take several each.
  const R = range(divideUp(headBlock + 2, laneGroups)), C = range(chunks), H = range(headBlock);
  const sides = [["a", 0], ["b", 1]] as const;
  const stored = (from: number, c: number) =>
    `${cacheElement(cache)}(own[${from}u + 2u * chunk${c}], own[${from + 1}u + 2u * chunk${c}])`;
  const stores = wgsl`${
    C.map((c) => guarded(rotated, c, `keys[ownAt + chunk${c}] = k${c}; values[ownAt + chunk${c}] = v${c};`))
  }
${cache.int8 && "if (part == 0u) { scales[ownSlot] = vec2<f32>(ownScales[0], ownScales[1]); }"}`;
  return {
    declarations: `var<workgroup> queries: array<vec4<f32>, ${headBlock * quads}>;
// The own key and value, as the cache holds them.
var<workgroup> own: array<${quadElement(cache)}, ${2 * quads}>;
${cache.int8 ? "var<workgroup> ownScales: array<f32, 2>;" : ""}`,
    loads: wgsl`${
      R.map((r) =>
        `  let task${r} = thread / ${lanes}u + ${r * laneGroups}u;
  let isQuery${r} = task${r} < ${headBlock}u;
  ${declareHead(rotated, r)}
  if (task${r} < ${headBlock + 2}u) {
    let source = select(${numHeads}u + kvHead + (task${r} - ${headBlock}u) * ${numKvHeads}u, head + task${r}, isQuery${r});
    ${loadHead(rotated, r, "source", `isQuery${r}`)}
  }`
      )
    }
  let ownSlot = slotOf(row, position, kvHead);
  let ownAt = ownSlot * ${quads / 2}u;`,
    rotation: wgsl`${
      R.map((r) =>
        wgsl`  if (task${r} < ${headBlock + 2}u) {
    ${rotateHead(rotated, r, `isQuery${r}`, `task${r} == ${headBlock + 1}u`)}
    ${
          cache.int8 && wgsl`${largestOfHead(rotated)}
    if (!isQuery${r} && part == 0u) { ownScales[task${r} - ${headBlock}u] = largest; }`
        }
    ${
          C.map((c) =>
            guarded(
              rotated,
              c,
              `    if (isQuery${r}) {
      let place = task${r} * ${quads}u + chunk${c};
      queries[place] = left${c};
      queries[place + ${quads / 2}u] = right${c};
    } else {
      let place = (task${r} - ${headBlock}u) * ${quads}u + chunk${c};
      own[place] = ${packQuad(cache, `left${c}`)};
      own[place + ${quads / 2}u] = ${packQuad(cache, `right${c}`)};
    }`,
            )
          )
        }
  }`
      )
    }
  workgroupBarrier();`,
    query: (h, quad) => `queries[${h * quads}u + ${quad}]`,
    begin: wgsl`  if (position < first + splitKeys && thread >= ${threads - lanes}u) {
${C.map((c) => `    let k${c} = ${stored(0, c)};\n    let v${c} = ${stored(quads, c)};`)}
${blocks > 1 ? `    if (group.y % ${blocks}u == 0u) {\n${stores}\n    }` : stores}
${
      C.flatMap((c) =>
        sides.map(([side, half]) =>
          `    let k${c}${side} = ${vecHalf(cache, `k${c}`, half)}; let v${c}${side} = ${
            scaled(cache, vecHalf(cache, `v${c}`, half), "ownScales[1]")
          };`
        )
      )
    }
${
      H.flatMap((h) => [
        `    m${h} = ${C.map((c) => `dot(q${h}_${c}a, k${c}a) + dot(q${h}_${c}b, k${c}b)`).join(" + ")};`,
        ...range(Math.log2(lanes)).map((step) => `    m${h} += subgroupShuffleXor(m${h}, ${1 << step}u);`),
        cache.int8 ? `    m${h} *= ownScales[0];` : "",
        capScore(shape, `m${h}`),
        `    l${h} = 1.0;`,
        ...C.flatMap((c) => sides.map(([side]) => `    o${h}_${c}${side} = v${c}${side};`)),
      ])
    }
  }`,
  };
}
