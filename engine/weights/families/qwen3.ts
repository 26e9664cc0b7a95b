// Qwen3 and Qwen3-MoE (arXiv 2505.09388): a norm on every head of q and k.

import { type Family, plain } from "./family.ts";

export const qwen3: Family = {
  ...plain,
  architectures: ["Qwen3ForCausalLM"],
  modelTypes: ["qwen3"],
  gguf: { name: "qwen3" },
  defaults: { head_dim: 128 },
  qkvBias: "attention_bias",
  outputBias: "attention_bias",
  window: "opt-in late layers",
  flags: () => ({ qkNorm: "heads" }),
};

export const qwen3Moe: Family = {
  ...qwen3,
  architectures: ["Qwen3MoeForCausalLM"],
  modelTypes: ["qwen3_moe"],
  gguf: { name: "qwen3moe" },
  defaults: {},
  experts: true,
  window: "opt-in",
};
