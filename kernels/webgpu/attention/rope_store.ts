// Per-head norm of q and k, rotary positions, and the store of k and v into their pages, in one dispatch; for steps
// with prompts in them (`own_token.ts` does it for others).
//
// Grid: (heads of q, k and v / heads of a workgroup, T), a group of lanes per head (`rotation.ts`). Memory: qkv
// [T, (heads + 2 kvHeads) · headDim]; cache as `cache.ts` lays it out. Bound by launch for few tokens, by
// memory for many.

import { Word } from "../plan/words.ts";
import { type DeviceCaps, kernel, type KernelCall, read, write } from "../shader/kernel.ts";
import { plainMain } from "../shader/reduce.ts";
import { divideUp, range, store, wgsl } from "../shader/wgsl.ts";
import { packQuad, quadElement, slotFunction } from "./cache.ts";
import { declareHead, guarded, largestOfHead, loadHead, rotateHead, rotationBuffers } from "./rotation.ts";
import type { AttentionRole, AttentionShape, HeadNorms } from "./shape.ts";
import { headLanes } from "./tuning.ts";

/** Rotates and stores `tokens` tokens. */
export function ropeStore(
  { heads, cache, qkv }: Pick<AttentionShape, "heads" | "cache" | "qkv">,
  norms: HeadNorms,
  tokens: number,
  caps: DeviceCaps,
): KernelCall<AttentionRole> {
  const { numHeads, numKvHeads, headDim } = heads;
  const rotated = { ...headLanes(headDim, caps), heads, qkv, norms };
  const { lanes, chunks } = rotated;
  const threads = caps.software ? 32 : 128;
  const quads = headDim / 4, allHeads = numHeads + 2 * numKvHeads;
  const C = range(chunks);
  const pack = (quad: string) => packQuad(cache, quad);
  const put = (buffer: string, at: string, value: (side: string) => string) => (c: number) =>
    guarded(
      rotated,
      c,
      `${buffer}[${at} + chunk${c}] = ${value(`left${c}`)};
      ${buffer}[${at} + chunk${c} + ${quads / 2}u] = ${value(`right${c}`)};`,
    );
  return kernel({
    key: `rope-store ${numHeads}/${numKvHeads}x${headDim} ${norms.qNorm} ${norms.kNorm} ${qkv} ${cache.key}`,
    buffers: {
      qkv: write(`vec4<${qkv}>`),
      ...rotationBuffers(norms),
      pageTable: read("u32"),
      keys: write(quadElement(cache)),
      values: write(quadElement(cache)),
      scales: cache.int8 && write("f32"),
    },
    workgroups: [divideUp(allHeads, Math.floor(threads / lanes)), tokens, 1],
    code: () =>
      wgsl`${slotFunction(cache)}
${plainMain(threads)} {
  let token = group.y;
  if (token >= plan[${Word.Tokens}]) { return; }
  let entry = plan[${Word.TokensAt}] + 2u * token;
  let position = plan[entry + 1u];
  let part = thread % ${lanes}u;
  // Lanes behind the last head repeat it and write nothing.
  let task = (group.x * ${threads}u + thread) / ${lanes}u;
  let head = min(task, ${allHeads - 1}u);
  let isQuery = head < ${numHeads}u;
  ${C.map((c) => `let chunk${c} = min(part + ${c * lanes}u, ${headDim / 8 - 1}u);`)}
  ${declareHead(rotated, 0)}
  ${loadHead(rotated, 0, "head", "isQuery")}
  ${rotateHead(rotated, 0, "isQuery", `head >= ${numHeads + numKvHeads}u`)}
  ${cache.int8 && largestOfHead(rotated)}
  if (task != head) { return; }
  if (isQuery) {
    let at = (token * ${allHeads}u + head) * ${quads}u;
    ${C.map(put("qkv", "at", (side) => store(qkv, side, 4)))}
    return;
  }
  let slot = slotOf(plan[entry], position, (head - ${numHeads}u) % ${numKvHeads}u);
  let numbers = slot * ${quads}u;
  ${cache.int8 && `if (part == 0u) { scales[2u * slot + u32(isValue)] = largest; }`}
  if (isValue) {
    ${C.map(put("values", "numbers", pack))}
  } else {
    ${C.map(put("keys", "numbers", pack))}
  }
}`,
  });
}
