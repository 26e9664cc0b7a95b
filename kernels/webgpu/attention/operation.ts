// Attention of a layer. Where every sequence computes one token, one kernel does it all: nobody else needs the new
// keys. Otherwise later tokens of a sequence see earlier ones, so norm, rotation and store come first, for all.

import type { AttentionArgs, Norm } from "../../ops.ts";
import { decodeAttention } from "./decode.ts";
import { mergeSplits } from "./merge.ts";
import { prefillAttention, prefillTile } from "./prefill.ts";
import { partialWords } from "./shape.ts";
import {
  type DeviceActivation,
  type Forward,
  look,
  recordOperation,
  sharedBuffer,
} from "../record/context.ts";
import { ropeStore } from "./rope_store.ts";
import type { DeviceRope, DeviceVector } from "../state/weights.ts";

/** Norms and rotation of q and k, store of k and v, attention, and the merge of its splits. */
export function recordAttention(forward: Forward, args: AttentionArgs): void {
  const { heads, qNorm, kNorm, layer, scale, window } = args;
  const { context: { state, gpu: { caps } }, shape } = forward;
  const { tokens, decodes, decodeOnly, splits, threads, headBlock, batch, tiles } = shape;
  const from = args.qkv as DeviceActivation, to = args.output as DeviceActivation;
  const { cosine, sine } = args.rope as DeviceRope;
  const weight = (norm: Norm | undefined) => norm ? (norm.weight as DeviceVector).buffer : cosine;
  const norms = { qNorm: qNorm?.epsilon ?? null, kNorm: kNorm?.epsilon ?? null };
  const key = `attention ${layer} ${from.buffer.id} ${to.buffer.id} ${cosine.id} ${weight(qNorm).id} ` +
    `${weight(kNorm).id} ${scale} ${window} ${tokens} ${decodes} ${decodeOnly} ${splits} ${threads} ` +
    `${headBlock} ${batch} ${tiles}`;
  recordOperation(forward, key, () => {
    const fixed = { heads, cache: state.cache, scale, window, qkv: from.element, output: to.element };
    const words = decodes * heads.numHeads * splits * partialWords(heads.headDim);
    const buffers = {
      qkv: from.buffer,
      cosine,
      sine,
      qNorm: weight(qNorm),
      kNorm: weight(kNorm),
      pageTable: state.pageTable,
      keys: state.keys[layer]!,
      values: state.values[layer]!,
      partial: sharedBuffer(forward, "partial", splits > 1 ? 4 * words : 16),
      output: to.buffer,
    };
    const prepared = [];
    if (!decodeOnly) {
      const rope = { heads, cache: state.cache, ...norms, qkv: from.element };
      prepared.push(look(forward, ropeStore(rope, tokens, caps), buffers));
    }
    if (decodes > 0) {
      const own = decodeOnly ? norms : null;
      prepared.push(look(forward, decodeAttention(fixed, own, decodes, splits, shape, caps), buffers));
    }
    const tile = prefillTile(heads, caps);
    if (tile !== null && tiles > 0) {
      prepared.push(look(forward, prefillAttention(fixed, tile, tiles), buffers));
    }
    if (splits > 1) prepared.push(look(forward, mergeSplits(fixed, decodes, caps), buffers));
    return prepared;
  });
}
