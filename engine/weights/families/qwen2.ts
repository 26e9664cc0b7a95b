// Qwen2 and Qwen2.5 (arXiv 2407.10671, 2412.15115): biases on q, k and v.

import { type Family, plain } from "./family.ts";

export const qwen2: Family = {
  ...plain,
  architectures: ["Qwen2ForCausalLM"],
  modelTypes: ["qwen2"],
  gguf: { name: "qwen2" },
  qkvBias: true,
  window: "opt-in late layers",
};
