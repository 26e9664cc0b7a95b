// Gemma 3 (arXiv 2503.19786), alone or as the part of its larger models that reads: as Gemma 2 with a norm on every
// head of q and k in place of the caps, five local layers to a global one, and another rotary base in local ones.

import { type Family } from "./family.ts";
import { gemma2, gemmaFlags, gemmaParts, scoreScale } from "./gemma2.ts";

export const gemma3: Family = {
  ...gemma2,
  architectures: ["Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"],
  modelTypes: ["gemma3_text", "gemma3"],
  gguf: {
    name: "gemma3",
    parts: gemmaParts,
    fields: { rope_local_base_freq: "rope.freq_base_swa" },
    facts: (number) => scoreScale(number, 62),
  },
  defaults: {
    ...gemma2.defaults,
    vocab_size: 262_208,
    max_position_embeddings: 131_072,
    sliding_window_pattern: 6,
    rope_theta: 1_000_000,
    rope_local_base_freq: 10_000,
    attn_logit_softcapping: null,
    final_logit_softcapping: null,
  },
  flags: (file, path, parsed) => ({ ...gemmaFlags(file, path, parsed), qkNorm: "heads" }),
};
