// Mistral (arXiv 2310.06825), Ministral (some layers local), and the text part of Mistral Small 3.1 and later.

import { type Family, plain } from "./family.ts";
import { textPart } from "./tensors.ts";

export const mistral: Family = {
  ...plain,
  architectures: ["MistralForCausalLM", "MinistralForCausalLM", "Mistral3ForConditionalGeneration"],
  modelTypes: ["mistral", "ministral", "mistral3"],
  defaults: { num_key_value_heads: 8, sliding_window: 4096 },
  window: "always",
  tensors: textPart,
};
