// OLMo 2 (arXiv 2501.00656): norms behind attention and feed-forward, and over all heads of q and of k together.

import { type Family, plain } from "./family.ts";
import { renamed } from "./tensors.ts";

export const olmo2: Family = {
  ...plain,
  architectures: ["Olmo2ForCausalLM"],
  modelTypes: ["olmo2"],
  gguf: {
    name: "olmo2",
    parts: {
      post_attention_norm: "attention_output_layernorm",
      post_ffw_norm: "feedforward_output_layernorm",
    },
  },
  qkvBias: "attention_bias",
  outputBias: "attention_bias",
  flags: () => ({ norms: "after", qkNorm: "width" }),
  tensors: (tensor) => [renamed(tensor, {
    post_attention_layernorm: "attention_output_layernorm",
    post_feedforward_layernorm: "feedforward_output_layernorm",
  })],
};
