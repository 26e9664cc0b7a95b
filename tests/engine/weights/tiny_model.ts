// A Llama of one layer with every kind of bias, to be written into files of any kind.

import { float32, type TestTensor } from "./files.ts";

/** Its config.json. */
export const tiny = {
  architectures: ["LlamaForCausalLM"],
  hidden_size: 16,
  intermediate_size: 16,
  num_hidden_layers: 1,
  num_attention_heads: 1,
  head_dim: 16,
  vocab_size: 8,
  max_position_embeddings: 32,
  tie_word_embeddings: true,
  attention_bias: true,
  mlp_bias: true,
};

/** Its tensors; the i-th projection's bias counts up from 10 i. */
export function tinyTensors(heads = 1): Record<string, TestTensor> {
  const matrix = (rows: number, columns: number, seed: number) =>
    float32(Array.from({ length: rows * columns }, (_, i) => Math.sin(i + seed)), [rows, columns]);
  const vector = (length: number, first: number) =>
    float32(Array.from({ length }, (_, i) => i + first), [length]);
  const layer = "model.layers.0";
  const tensors: Record<string, TestTensor> = {
    "model.embed_tokens.weight": matrix(8, 16, 0),
    "model.norm.weight": vector(16, 1),
    [`${layer}.input_layernorm.weight`]: vector(16, 2),
    [`${layer}.post_attention_layernorm.weight`]: vector(16, 3),
  };
  const projections = [
    ["self_attn.q_proj", 16 * heads, 16],
    ["self_attn.k_proj", 16, 16],
    ["self_attn.v_proj", 16, 16],
    ["self_attn.o_proj", 16, 16 * heads],
    ["mlp.gate_proj", 16, 16],
    ["mlp.up_proj", 16, 16],
    ["mlp.down_proj", 16, 16],
  ] as const;
  projections.forEach(([name, rows, columns], i) => {
    tensors[`${layer}.${name}.weight`] = matrix(rows, columns, 10 * i);
    tensors[`${layer}.${name}.bias`] = vector(rows, 10 * i);
  });
  return tensors;
}
