// Phi-3 (arXiv 2404.14219), Phi-3.5, Phi-4 (arXiv 2412.08905) and Phi-4-mini (arXiv 2503.01743): q, k, v in one matrix,
// gate and up in another; LongRoPE in the versions for 128k tokens; in Phi-4-mini a part of each head does not turn.

import { type Family, plain } from "./family.ts";
import { unfused } from "./tensors.ts";

export const phi3: Family = {
  ...plain,
  architectures: ["Phi3ForCausalLM"],
  modelTypes: ["phi3"],
  gguf: { name: "phi3", parts: { attn_qkv: "self_attn.qkv_proj", ffn_up: "mlp.gate_up_proj" } },
  window: "always",
  defaults: { sliding_window: null },
  tensors: unfused,
};
