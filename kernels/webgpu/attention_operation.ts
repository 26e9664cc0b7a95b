// Attention of a layer. Where every sequence computes one token, one kernel does it all: nobody else needs the new
// keys. Otherwise later tokens of a sequence see earlier ones, so norm, rotation and store come first, for all.

import type { AttentionArgs, Norm } from "../ops.ts";
import { decodeAttention } from "./attention/decode.ts";
import { mergeSplits } from "./attention/merge.ts";
import { prefillAttention, prefillTile } from "./attention/prefill.ts";
import { chooseAhead } from "./attention/read_ahead.ts";
import { partialWords } from "./attention/shape.ts";
import { headBlocks } from "./attention/tuning.ts";
import { type DeviceActivation, type Forward, look, recordOperation, sharedBuffer } from "./context.ts";
import { ropeStore } from "./rope/rope_store.ts";
import type { DeviceMatrix, DeviceRope, DeviceVector } from "./weights.ts";
import { powerOfTwo } from "./wgsl.ts";

/** Norms and rotation of q and k, store of k and v, attention, and the merge of its splits. */
export function recordAttention(forward: Forward, args: AttentionArgs): void {
  const { heads, qNorm, kNorm, layer, scale, window } = args;
  const { context: { state, gpu: { caps } }, shape } = forward;
  const { tokens, decodes, decodeOnly, splits, threads, headBlock, batch, tiles } = shape;
  const from = args.qkv as DeviceActivation, to = args.output as DeviceActivation;
  const { cosine, sine } = args.rope as DeviceRope;
  const weight = (norm: Norm | undefined) => norm ? (norm.weight as DeviceVector).buffer : cosine;
  const norms = { qNorm: qNorm?.epsilon ?? null, kNorm: kNorm?.epsilon ?? null };
  const next = (args.next ?? []).map((matrix) => (matrix as DeviceMatrix).parts[0]!.buffer);
  const key = `attention ${layer} ${from.buffer.id} ${to.buffer.id} ${cosine.id} ${weight(qNorm).id} ` +
    `${weight(kNorm).id} ${scale} ${window} ${tokens} ${decodes} ${decodeOnly} ${splits} ${threads} ` +
    `${headBlock} ${batch} ${tiles} ${next.map(({ id }) => id)}`;
  recordOperation(forward, key, () => {
    // As for the kernel itself, numbers of queries up to the next power of two are one case.
    const workgroups = powerOfTwo(decodes) * headBlocks(heads, headBlock);
    const ahead = decodeOnly && splits === 1
      ? chooseAhead(next.map(({ bytes }) => bytes), workgroups, caps)
      : [];
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
      ahead0: next[0] ?? cosine,
      ahead1: next[1] ?? cosine,
    };
    const prepared = [];
    if (!decodeOnly) {
      const rope = { heads, cache: state.cache, ...norms, qkv: from.element };
      prepared.push(look(forward, ropeStore(rope, tokens, caps), buffers));
    }
    if (decodes > 0) {
      const call = { own: decodeOnly ? norms : null, queries: decodes, splits, layout: shape, ahead };
      prepared.push(look(forward, decodeAttention(fixed, call, caps), buffers));
    }
    const tile = prefillTile(heads, caps);
    if (tile !== null && tiles > 0) {
      prepared.push(look(forward, prefillAttention(fixed, tile, tiles), buffers));
    }
    if (splits > 1) prepared.push(look(forward, mergeSplits(fixed, decodes, caps), buffers));
    return prepared;
  });
}
