// Llama (arXiv 2302.13971, 2407.21783), and what many makers built on it.

import { type Family, plain } from "./family.ts";

export const llama: Family = {
  ...plain,
  architectures: ["LlamaForCausalLM"],
  modelTypes: ["llama"],
  gguf: { name: "llama", interleaved: true },
  qkvBias: "attention_bias",
  outputBias: "attention_bias",
  hasMlpBias: true,
};
