// Attention of a layer. Where every sequence computes one token, one kernel does it all, because no other query needs
// the new keys. Otherwise later tokens of a sequence see earlier ones, so norm, rotation and store come first, for all.

import type { AttentionArgs, Norm } from "../../ops.ts";
import { type DeviceActivation, dispatch, type Forward, sharedBuffer } from "../record/context.ts";
import type { DeviceRope, DeviceVector } from "../state/weights.ts";
import { decodeAttention } from "./decode.ts";
import { mergeSplits } from "./merge.ts";
import { prefillAttention, prefillTile } from "./prefill.ts";
import { ropeStore } from "./rope_store.ts";
import { partialWords } from "./shape.ts";

/** Norms and rotation of q and k, store of k and v, attention, and the merge of its splits. */
export function recordAttention(forward: Forward, args: AttentionArgs): void {
  const { heads, qNorm, kNorm, layer, scale, window, softCap = null } = args;
  const { context: { state, gpu: { caps } }, shape } = forward;
  const { tokens, decodes, decodeOnly, splits, tiles } = shape;
  const from = args.qkv as DeviceActivation, to = args.output as DeviceActivation;
  const { cosine, sine } = args.rope as DeviceRope;
  const weight = (norm: Norm | undefined) => norm ? (norm.weight as DeviceVector).buffer : null;
  const norms = { qNorm: qNorm?.epsilon ?? null, kNorm: kNorm?.epsilon ?? null };
  const sinks = args.sinks as DeviceVector | undefined;
  const fixed = {
    ...{ heads, cache: state.cache, scale, window, softCap, sinks: sinks !== undefined },
    ...{ qkv: from.element, output: to.element },
  };
  const words = decodes * heads.numHeads * splits * partialWords(heads.headDim);
  const buffers = {
    qkv: from.buffer,
    cosine,
    sine,
    qNorm: weight(qNorm),
    kNorm: weight(kNorm),
    sinks: sinks?.buffer ?? null,
    pageTable: state.pageTable,
    keys: state.keys[layer]!,
    values: state.values[layer]!,
    scales: state.scales[layer] ?? null,
    partials: sharedBuffer(forward, "partials", splits > 1 ? 4 * words : 16),
    output: to.buffer,
  };
  if (!decodeOnly) dispatch(forward, ropeStore(fixed, norms, tokens, caps), buffers);
  if (decodes > 0) {
    const own = decodeOnly ? norms : null;
    dispatch(forward, decodeAttention(fixed, own, decodes, splits, shape, caps), buffers);
  }
  const tile = prefillTile(heads, caps);
  if (tile !== null && tiles > 0) dispatch(forward, prefillAttention(fixed, tile, tiles), buffers);
  if (splits > 1) dispatch(forward, mergeSplits(fixed, decodes, caps), buffers);
}
