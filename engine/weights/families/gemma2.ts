// Gemma 2 (arXiv 2408.00118): norms on both sides, stored as w − 1; GELU; soft caps; every other layer local.

import type { ModelConfig } from "../../model/config.ts";
import { field, optional } from "../../model/json.ts";
import type { TensorInfo } from "../safetensors.ts";
import { type Family, flagsOf, plain } from "./family.ts";
import { renamed, textPart } from "./tensors.ts";

const cap = optional(field.number(1e-3, 1e6));

/** Gemma's tensors under the plan's names. */
export function gemmaTensors(tensor: TensorInfo): TensorInfo[] {
  return textPart(tensor).map((part) => {
    const named = renamed(part, {
      post_attention_layernorm: "attention_output_layernorm",
      pre_feedforward_layernorm: "post_attention_layernorm",
      post_feedforward_layernorm: "feedforward_output_layernorm",
    });
    return named.name.endsWith("norm.weight") ? { ...named, plus: 1 } : named;
  });
}

/** GGUF's norms behind attention and feed-forward. */
export const gemmaParts = {
  post_attention_norm: "attention_output_layernorm",
  post_ffw_norm: "feedforward_output_layernorm",
} as const;

/**
 * `query_pre_attn_scalar`, which GGUF does not say: the width of a head, but in the largest model, of `layers` layers,
 * that of the residual stream's share of a head.
 */
export function scoreScale(number: (key: string) => number | undefined, layers: number) {
  const width = number("block_count") === layers
    ? number("embedding_length")! / number("attention.head_count")!
    : number("attention.key_length") ?? 256;
  return { query_pre_attn_scalar: width };
}

/** What all Gemmas have. */
export const gemmaFlags = flagsOf({
  query_pre_attn_scalar: field.number(1e-3, 1e6),
  attn_logit_softcapping: cap,
  final_logit_softcapping: cap,
}, (file, { hiddenSize }): Partial<ModelConfig> => ({
  norms: "both",
  embeddingMultiplier: Math.sqrt(hiddenSize),
  attentionMultiplier: 1 / Math.sqrt(file.query_pre_attn_scalar),
  attentionSoftCap: file.attn_logit_softcapping ?? null,
  logitSoftCap: file.final_logit_softcapping ?? null,
}));

export const gemma2: Family = {
  ...plain,
  architectures: ["Gemma2ForCausalLM"],
  modelTypes: ["gemma2"],
  gguf: {
    name: "gemma2",
    parts: gemmaParts,
    fields: {
      attn_logit_softcapping: "attn_logit_softcapping",
      final_logit_softcapping: "final_logit_softcapping",
    },
    facts: (number) => scoreScale(number, 46),
  },
  defaults: {
    vocab_size: 256_000,
    hidden_size: 2304,
    intermediate_size: 9216,
    num_hidden_layers: 26,
    num_attention_heads: 8,
    num_key_value_heads: 4,
    head_dim: 256,
    hidden_activation: "gelu_pytorch_tanh",
    max_position_embeddings: 8192,
    tie_word_embeddings: true,
    query_pre_attn_scalar: 256,
    sliding_window: 4096,
    sliding_window_pattern: 2,
    attn_logit_softcapping: 50,
    final_logit_softcapping: 30,
  },
  qkvBias: "attention_bias",
  outputBias: "attention_bias",
  window: "always",
  flags: gemmaFlags,
  tensors: gemmaTensors,
};
