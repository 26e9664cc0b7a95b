// GGUF metadata as the fields of a `config.json`, so that one reader checks both.
//
// Keys: the GGUF specification and llama.cpp's constants; what a file does not say (that Qwen3-MoE normalises its
// experts' weights) is a fact of the architecture.

import { ModelError, shown } from "../../model/json.ts";
import type { GgufFiles } from "../families/family.ts";
import { families } from "../families/mod.ts";
import type { GgufHeader } from "./header.ts";
import { Metadata } from "./metadata.ts";

/** A model as its metadata describes it. */
export interface GgufModel {
  /** The fields of a `config.json`. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Ids of tokens that end a text. */
  readonly eosIds: readonly number[];
  /** What its family's files have that others do not. */
  readonly files: GgufFiles;
}

/**
 * Reads what the file says of the model. Sizes are checked by whoever reads the configuration.
 * @throws ModelError naming file and key, or listing the known architectures
 */
export function describeGguf(header: GgufHeader, path: string): GgufModel {
  const metadata = new Metadata(header, path);
  const name = metadata.required("general.architecture", metadata.string);
  const family = families.find(({ gguf }) => gguf?.name === name), files = family?.gguf;
  if (family === undefined || files == null) {
    const known = families.flatMap(({ gguf }) => gguf?.name ?? []).join(", ");
    throw new ModelError(`${path}: unsupported architecture ${shown(name)}; known are ${known}`);
  }
  const number = (key: string) => metadata.perLayer(`${name}.${key}`);
  const shapeOf = (tensor: string) => header.tensors.find((t) => t.name === tensor)?.shape;
  const heads = number("attention.head_count"), hidden = number("embedding_length");
  const headDim = number("attention.key_length") ?? Math.floor((hidden ?? 0) / (heads ?? 1));
  const config = {
    architectures: [family.architectures[0]],
    hidden_size: hidden,
    intermediate_size: number("feed_forward_length") ?? number("expert_feed_forward_length"),
    num_hidden_layers: number("block_count"),
    num_attention_heads: heads,
    num_key_value_heads: number("attention.head_count_kv") ?? heads,
    head_dim: headDim,
    max_position_embeddings: number("context_length"),
    vocab_size: shapeOf("token_embd.weight")?.[0],
    rms_norm_eps: number("attention.layer_norm_rms_epsilon"),
    rope_theta: number("rope.freq_base"),
    partial_rotary_factor: (number("rope.dimension_count") ?? headDim) / headDim,
    original_max_position_embeddings: number("rope.scaling.original_context_length"),
    sliding_window: number("attention.sliding_window"),
    sliding_window_pattern: number("attention.sliding_window_pattern"),
    rope_scaling: ropeScaling(metadata, name, files),
    tie_word_embeddings: shapeOf("output.weight") === undefined,
    attention_bias: shapeOf("blk.0.attn_q.bias") !== undefined,
    mlp_bias: shapeOf("blk.0.ffn_up.bias") !== undefined,
    num_experts: number("expert_count"),
    num_experts_per_tok: number("expert_used_count"),
    moe_intermediate_size: number("expert_feed_forward_length"),
    norm_topk_prob: true,
    dtype: "float16",
    ...Object.fromEntries(Object.entries(files.fields ?? {}).map(([field, key]) => [field, number(key)])),
    ...files.facts?.(number),
  };
  const eos = ["eos", "eot", "eom"].map((key) => metadata.number(`tokenizer.ggml.${key}_token_id`));
  return {
    config: Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined)),
    eosIds: [...new Set(eos.filter((id) => id !== undefined))],
    files,
  };
}

function ropeScaling(
  metadata: Metadata,
  name: string,
  { yarnTruncates }: GgufFiles,
): Readonly<Record<string, unknown>> | undefined {
  const key = (part: string) => `${name}.rope.scaling.${part}`;
  const type = metadata.string(key("type")) ?? "none";
  if (type === "none") return undefined;
  // GGUF's factor multiplies what YaRN gives; the one in config.json replaces it.
  const attention = metadata.number(key("attn_factor")), factor = metadata.number(key("factor"));
  const scaling = {
    rope_type: type,
    factor,
    original_max_position_embeddings: metadata.number(key("original_context_length")),
    attention_factor: attention === undefined || factor === undefined
      ? undefined
      : attention * (0.1 * Math.log(factor) + 1),
    beta_fast: metadata.number(key("yarn_beta_fast")),
    beta_slow: metadata.number(key("yarn_beta_slow")),
    truncate: yarnTruncates,
  };
  return Object.fromEntries(Object.entries(scaling).filter(([, value]) => value !== undefined));
}
