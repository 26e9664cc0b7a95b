// Granite 3 (model card of ibm-granite/granite-3.3-8b-instruct): Llama with multipliers (µP, arXiv 2203.03466).

import { field, optional } from "../../model/json.ts";
import { type Family, flagsOf, plain } from "./family.ts";

const multiplier = optional(field.number(1e-6, 1e6));

export const granite: Family = {
  ...plain,
  architectures: ["GraniteForCausalLM"],
  modelTypes: ["granite"],
  gguf: {
    name: "granite",
    interleaved: true,
    fields: {
      embedding_multiplier: "embedding_scale",
      residual_multiplier: "residual_scale",
      attention_multiplier: "attention.scale",
      logits_scaling: "logit_scale",
    },
  },
  qkvBias: "attention_bias",
  outputBias: "attention_bias",
  hasMlpBias: true,
  flags: flagsOf({
    embedding_multiplier: multiplier,
    residual_multiplier: multiplier,
    attention_multiplier: multiplier,
    logits_scaling: multiplier,
  }, (file) => ({
    embeddingMultiplier: file.embedding_multiplier ?? 1,
    residualMultiplier: file.residual_multiplier ?? 1,
    attentionMultiplier: file.attention_multiplier ?? 1,
    logitsMultiplier: 1 / (file.logits_scaling ?? 1),
  })),
};
