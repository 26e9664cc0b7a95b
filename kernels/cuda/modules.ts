// Written by `deno task build:ptx`: the compiled modules. Each holds the kernels of one choice, because a module is what
// the driver compiles and keeps together; a model loads those that it needs.

import attention_16 from "./ptx/attention_16.txt" with { type: "text" };
import attention_16_int8 from "./ptx/attention_16_int8.txt" with { type: "text" };
import attention_16_sm90 from "./ptx/attention_16_sm90.txt" with { type: "text" };
import attention_32 from "./ptx/attention_32.txt" with { type: "text" };
import attention_32_int8 from "./ptx/attention_32_int8.txt" with { type: "text" };
import attention_32_sm90 from "./ptx/attention_32_sm90.txt" with { type: "text" };
import attention_4 from "./ptx/attention_4.txt" with { type: "text" };
import attention_4_sm90 from "./ptx/attention_4_sm90.txt" with { type: "text" };
import attention_8 from "./ptx/attention_8.txt" with { type: "text" };
import attention_8_int8 from "./ptx/attention_8_int8.txt" with { type: "text" };
import attention_8_sm90 from "./ptx/attention_8_sm90.txt" with { type: "text" };
import decode_f16 from "./ptx/decode_f16.txt" with { type: "text" };
import decode_f16_sm90 from "./ptx/decode_f16_sm90.txt" with { type: "text" };
import decode_int8 from "./ptx/decode_int8.txt" with { type: "text" };
import decode_int8_sm90 from "./ptx/decode_int8_sm90.txt" with { type: "text" };
import embed from "./ptx/embed.txt" with { type: "text" };
import embed_sm90 from "./ptx/embed_sm90.txt" with { type: "text" };
import expand_bf16 from "./ptx/expand_bf16.txt" with { type: "text" };
import expand_bf16_sm90 from "./ptx/expand_bf16_sm90.txt" with { type: "text" };
import merge from "./ptx/merge.txt" with { type: "text" };
import merge_sm90 from "./ptx/merge_sm90.txt" with { type: "text" };
import mma_bf16 from "./ptx/mma_bf16.txt" with { type: "text" };
import mma_f16 from "./ptx/mma_f16.txt" with { type: "text" };
import mma_planes_bf16 from "./ptx/mma_planes_bf16.txt" with { type: "text" };
import mma_planes_bf16_sm90 from "./ptx/mma_planes_bf16_sm90.txt" with { type: "text" };
import mma_q8_bf16 from "./ptx/mma_q8_bf16.txt" with { type: "text" };
import mma_q8_bf16_sm90 from "./ptx/mma_q8_bf16_sm90.txt" with { type: "text" };
import moe from "./ptx/moe.txt" with { type: "text" };
import moe_sm90 from "./ptx/moe_sm90.txt" with { type: "text" };
import narrow_bf16 from "./ptx/narrow_bf16.txt" with { type: "text" };
import narrow_f16 from "./ptx/narrow_f16.txt" with { type: "text" };
import own_16 from "./ptx/own_16.txt" with { type: "text" };
import own_16_int8 from "./ptx/own_16_int8.txt" with { type: "text" };
import own_16_sm90 from "./ptx/own_16_sm90.txt" with { type: "text" };
import own_32 from "./ptx/own_32.txt" with { type: "text" };
import own_32_int8 from "./ptx/own_32_int8.txt" with { type: "text" };
import own_32_sm90 from "./ptx/own_32_sm90.txt" with { type: "text" };
import own_4 from "./ptx/own_4.txt" with { type: "text" };
import own_4_sm90 from "./ptx/own_4_sm90.txt" with { type: "text" };
import own_8 from "./ptx/own_8.txt" with { type: "text" };
import own_8_int8 from "./ptx/own_8_int8.txt" with { type: "text" };
import own_8_sm90 from "./ptx/own_8_sm90.txt" with { type: "text" };
import peers from "./ptx/peers.txt" with { type: "text" };
import peers_sm90 from "./ptx/peers_sm90.txt" with { type: "text" };
import plain_bf16 from "./ptx/plain_bf16.txt" with { type: "text" };
import plain_bf16_sm90 from "./ptx/plain_bf16_sm90.txt" with { type: "text" };
import plain_f16 from "./ptx/plain_f16.txt" with { type: "text" };
import plain_f16_sm90 from "./ptx/plain_f16_sm90.txt" with { type: "text" };
import plain_f32 from "./ptx/plain_f32.txt" with { type: "text" };
import plain_f32_sm90 from "./ptx/plain_f32_sm90.txt" with { type: "text" };
import plain_q4_0 from "./ptx/plain_q4_0.txt" with { type: "text" };
import plain_q4_0_sm90 from "./ptx/plain_q4_0_sm90.txt" with { type: "text" };
import plain_q4_1 from "./ptx/plain_q4_1.txt" with { type: "text" };
import plain_q4_1_sm90 from "./ptx/plain_q4_1_sm90.txt" with { type: "text" };
import plain_q4_k from "./ptx/plain_q4_k.txt" with { type: "text" };
import plain_q4_k_sm90 from "./ptx/plain_q4_k_sm90.txt" with { type: "text" };
import plain_q6_k from "./ptx/plain_q6_k.txt" with { type: "text" };
import plain_q6_k_sm90 from "./ptx/plain_q6_k_sm90.txt" with { type: "text" };
import plain_q8 from "./ptx/plain_q8.txt" with { type: "text" };
import plain_q8_sm90 from "./ptx/plain_q8_sm90.txt" with { type: "text" };
import prefill_f16 from "./ptx/prefill_f16.txt" with { type: "text" };
import prefill_scores_f16 from "./ptx/prefill_scores_f16.txt" with { type: "text" };
import prefill_scores_int8 from "./ptx/prefill_scores_int8.txt" with { type: "text" };
import prefill_wide_f16 from "./ptx/prefill_wide_f16.txt" with { type: "text" };
import prefill_wide_int8 from "./ptx/prefill_wide_int8.txt" with { type: "text" };
import prefill_wide_scores_f16 from "./ptx/prefill_wide_scores_f16.txt" with { type: "text" };
import prefill_wide_scores_int8 from "./ptx/prefill_wide_scores_int8.txt" with { type: "text" };
import prepare from "./ptx/prepare.txt" with { type: "text" };
import prepare_sm90 from "./ptx/prepare_sm90.txt" with { type: "text" };
import quantized_q4_0 from "./ptx/quantized_q4_0.txt" with { type: "text" };
import quantized_q4_0_sm90 from "./ptx/quantized_q4_0_sm90.txt" with { type: "text" };
import quantized_q4_1 from "./ptx/quantized_q4_1.txt" with { type: "text" };
import quantized_q4_1_sm90 from "./ptx/quantized_q4_1_sm90.txt" with { type: "text" };
import quantized_q4_k from "./ptx/quantized_q4_k.txt" with { type: "text" };
import quantized_q4_k_sm90 from "./ptx/quantized_q4_k_sm90.txt" with { type: "text" };
import quantized_q6_k from "./ptx/quantized_q6_k.txt" with { type: "text" };
import quantized_q6_k_sm90 from "./ptx/quantized_q6_k_sm90.txt" with { type: "text" };
import quantized_q8 from "./ptx/quantized_q8.txt" with { type: "text" };
import quantized_q8_sm90 from "./ptx/quantized_q8_sm90.txt" with { type: "text" };
import rope from "./ptx/rope.txt" with { type: "text" };
import rope_int8 from "./ptx/rope_int8.txt" with { type: "text" };
import rope_int8_sm90 from "./ptx/rope_int8_sm90.txt" with { type: "text" };
import rope_sm90 from "./ptx/rope_sm90.txt" with { type: "text" };
import rows_bf16 from "./ptx/rows_bf16.txt" with { type: "text" };
import rows_bf16_sm90 from "./ptx/rows_bf16_sm90.txt" with { type: "text" };
import rows_f16 from "./ptx/rows_f16.txt" with { type: "text" };
import rows_f16_sm90 from "./ptx/rows_f16_sm90.txt" with { type: "text" };
import rows_q8 from "./ptx/rows_q8.txt" with { type: "text" };
import rows_q8_sm90 from "./ptx/rows_q8_sm90.txt" with { type: "text" };
import sample from "./ptx/sample.txt" with { type: "text" };
import sample_sm90 from "./ptx/sample_sm90.txt" with { type: "text" };
import skinny_bf16_16 from "./ptx/skinny_bf16_16.txt" with { type: "text" };
import skinny_bf16_16_sm90 from "./ptx/skinny_bf16_16_sm90.txt" with { type: "text" };
import skinny_bf16_32 from "./ptx/skinny_bf16_32.txt" with { type: "text" };
import skinny_bf16_32_sm90 from "./ptx/skinny_bf16_32_sm90.txt" with { type: "text" };
import skinny_bf16_64 from "./ptx/skinny_bf16_64.txt" with { type: "text" };
import skinny_bf16_64_sm90 from "./ptx/skinny_bf16_64_sm90.txt" with { type: "text" };
import skinny_f16_16 from "./ptx/skinny_f16_16.txt" with { type: "text" };
import skinny_f16_16_sm90 from "./ptx/skinny_f16_16_sm90.txt" with { type: "text" };
import skinny_f16_32 from "./ptx/skinny_f16_32.txt" with { type: "text" };
import skinny_f16_32_sm90 from "./ptx/skinny_f16_32_sm90.txt" with { type: "text" };
import skinny_f16_64 from "./ptx/skinny_f16_64.txt" with { type: "text" };
import skinny_f16_64_sm90 from "./ptx/skinny_f16_64_sm90.txt" with { type: "text" };
import stream_q4_0 from "./ptx/stream_q4_0.txt" with { type: "text" };
import stream_q4_0_sm90 from "./ptx/stream_q4_0_sm90.txt" with { type: "text" };
import stream_q4_1 from "./ptx/stream_q4_1.txt" with { type: "text" };
import stream_q4_1_sm90 from "./ptx/stream_q4_1_sm90.txt" with { type: "text" };
import stream_q4_k from "./ptx/stream_q4_k.txt" with { type: "text" };
import stream_q4_k_sm90 from "./ptx/stream_q4_k_sm90.txt" with { type: "text" };
import stream_q6_k from "./ptx/stream_q6_k.txt" with { type: "text" };
import stream_q6_k_sm90 from "./ptx/stream_q6_k_sm90.txt" with { type: "text" };
import stream_q8 from "./ptx/stream_q8.txt" with { type: "text" };
import stream_q8_sm90 from "./ptx/stream_q8_sm90.txt" with { type: "text" };
import wide_bf16 from "./ptx/wide_bf16.txt" with { type: "text" };
import wide_f16 from "./ptx/wide_f16.txt" with { type: "text" };

/** Compressed PTX by the name of its module. */
export const modules = {
  attention_16,
  attention_16_int8,
  attention_16_sm90,
  attention_32,
  attention_32_int8,
  attention_32_sm90,
  attention_4,
  attention_4_sm90,
  attention_8,
  attention_8_int8,
  attention_8_sm90,
  decode_f16,
  decode_f16_sm90,
  decode_int8,
  decode_int8_sm90,
  embed,
  embed_sm90,
  expand_bf16,
  expand_bf16_sm90,
  merge,
  merge_sm90,
  mma_bf16,
  mma_f16,
  mma_planes_bf16,
  mma_planes_bf16_sm90,
  mma_q8_bf16,
  mma_q8_bf16_sm90,
  moe,
  moe_sm90,
  narrow_bf16,
  narrow_f16,
  own_16,
  own_16_int8,
  own_16_sm90,
  own_32,
  own_32_int8,
  own_32_sm90,
  own_4,
  own_4_sm90,
  own_8,
  own_8_int8,
  own_8_sm90,
  peers,
  peers_sm90,
  plain_bf16,
  plain_bf16_sm90,
  plain_f16,
  plain_f16_sm90,
  plain_f32,
  plain_f32_sm90,
  plain_q4_0,
  plain_q4_0_sm90,
  plain_q4_1,
  plain_q4_1_sm90,
  plain_q4_k,
  plain_q4_k_sm90,
  plain_q6_k,
  plain_q6_k_sm90,
  plain_q8,
  plain_q8_sm90,
  prefill_f16,
  prefill_scores_f16,
  prefill_scores_int8,
  prefill_wide_f16,
  prefill_wide_int8,
  prefill_wide_scores_f16,
  prefill_wide_scores_int8,
  prepare,
  prepare_sm90,
  quantized_q4_0,
  quantized_q4_0_sm90,
  quantized_q4_1,
  quantized_q4_1_sm90,
  quantized_q4_k,
  quantized_q4_k_sm90,
  quantized_q6_k,
  quantized_q6_k_sm90,
  quantized_q8,
  quantized_q8_sm90,
  rope,
  rope_int8,
  rope_int8_sm90,
  rope_sm90,
  rows_bf16,
  rows_bf16_sm90,
  rows_f16,
  rows_f16_sm90,
  rows_q8,
  rows_q8_sm90,
  sample,
  sample_sm90,
  skinny_bf16_16,
  skinny_bf16_16_sm90,
  skinny_bf16_32,
  skinny_bf16_32_sm90,
  skinny_bf16_64,
  skinny_bf16_64_sm90,
  skinny_f16_16,
  skinny_f16_16_sm90,
  skinny_f16_32,
  skinny_f16_32_sm90,
  skinny_f16_64,
  skinny_f16_64_sm90,
  stream_q4_0,
  stream_q4_0_sm90,
  stream_q4_1,
  stream_q4_1_sm90,
  stream_q4_k,
  stream_q4_k_sm90,
  stream_q6_k,
  stream_q6_k_sm90,
  stream_q8,
  stream_q8_sm90,
  wide_bf16,
  wide_f16,
} as const;

/** Name of a module. */
export type ModuleName = keyof typeof modules;
