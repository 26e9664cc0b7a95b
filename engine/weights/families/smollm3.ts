// SmolLM3 (model card of HuggingFaceTB/SmolLM3-3B): Llama with every fourth layer not rotated.

import { field, optional } from "../../model/json.ts";
import { type Family, flagsOf, plain } from "./family.ts";

export const smollm3: Family = {
  ...plain,
  architectures: ["SmolLM3ForCausalLM"],
  modelTypes: ["smollm3"],
  gguf: { name: "smollm3", interleaved: true },
  defaults: { tie_word_embeddings: true, rope_theta: 2_000_000 },
  qkvBias: "attention_bias",
  outputBias: "attention_bias",
  hasMlpBias: true,
  window: "opt-in",
  flags: flagsOf({
    // Per layer: 1 where it is rotated.
    no_rope_layers: optional(field.list(field.integer(0, 1), 1024)),
    no_rope_layer_interval: optional(field.integer(1, 1024)),
  }, ({ no_rope_layers: listed, no_rope_layer_interval: interval = 4 }, { numLayers }) => {
    const layers = Array.from({ length: numLayers }, (_, layer) => layer);
    return {
      unrotatedLayers: layers.filter((layer) => listed ? listed[layer] === 0 : (layer + 1) % interval === 0),
    };
  }),
};
