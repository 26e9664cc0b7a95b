// Rotary-embedding settings of `config.json`, in both spellings: `rope_parameters` {rope_theta, rope_type, …} of
// newer files, and `rope_theta` beside `rope_scaling` {type or rope_type, …} of published ones.
//
// Defaults follow Hugging Face transformers (modeling_rope_utils). YaRN's attention factor is arXiv 2309.00071,
// equation 22.

import type { RopeConfig } from "./config.ts";
import { Fields, ModelError, shown } from "./fields.ts";

const mostPositions = 1 << 24;
const ropeTypes = "default, linear, dynamic, llama3, yarn";

/**
 * The settings, and how many positions they make usable: YaRN may reach further than `max_position_embeddings`.
 * @throws ModelError naming file and field
 */
export function parseRope(fields: Fields, maxPositions: number): { rope: RopeConfig; positions: number } {
  const parameters = fields.object("rope_parameters");
  const scaling = parameters ?? fields.object("rope_scaling") ?? new Fields({}, fields.where);
  const theta = (parameters?.has("rope_theta") ? parameters : fields).number("rope_theta", 2, 1e15, 10_000);
  const partialIn = parameters?.has("partial_rotary_factor") ? parameters : fields;
  const partial = partialIn.number("partial_rotary_factor", 0, 1, 1);
  if (partial !== 1) {
    throw new ModelError(`${fields.where}: partial rotary embeddings (${partial}) are not supported`);
  }
  const common = { theta, partial };
  const type = scaling.string(scaling.has("rope_type") ? "rope_type" : "type") ?? "default";
  const factor = () => scaling.number("factor", 1, 4096);
  const original = (fallback?: number) =>
    scaling.integer("original_max_position_embeddings", 1, mostPositions, fallback);
  switch (type) {
    case "default":
      return { rope: { ...common, type }, positions: maxPositions };
    case "linear":
      return { rope: { ...common, type, factor: factor() }, positions: maxPositions };
    case "dynamic":
      return {
        rope: { ...common, type, factor: factor(), originalPositions: maxPositions },
        positions: maxPositions,
      };
    case "llama3": {
      const lowFrequencyFactor = scaling.number("low_freq_factor", 1e-3, 1e6);
      const highFrequencyFactor = scaling.number("high_freq_factor", 1e-3, 1e6);
      if (highFrequencyFactor <= lowFrequencyFactor) {
        scaling.fail("high_freq_factor", `greater than low_freq_factor (${lowFrequencyFactor})`);
      }
      return {
        rope: {
          ...common,
          type,
          factor: factor(),
          lowFrequencyFactor,
          highFrequencyFactor,
          originalPositions: original(),
        },
        positions: maxPositions,
      };
    }
    case "yarn": {
      const originalPositions = original(maxPositions);
      const stretch = factor();
      return {
        rope: {
          ...common,
          type,
          factor: stretch,
          originalPositions,
          betaFast: scaling.number("beta_fast", 1e-3, 1e6, 32),
          betaSlow: scaling.number("beta_slow", 1e-3, 1e6, 1),
          attentionFactor: attentionFactor(scaling, stretch),
          truncate: scaling.boolean("truncate", true),
        },
        positions: Math.max(maxPositions, Math.floor(originalPositions * stretch)),
      };
    }
    default:
      throw new ModelError(`${scaling.where}: unsupported rope type ${shown(type)}; known are ${ropeTypes}`);
  }
}

function attentionFactor(scaling: Fields, factor: number): number {
  if (scaling.has("attention_factor")) return scaling.number("attention_factor", 1e-3, 1e3);
  const temper = (scale: number) => factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1;
  const mscale = scaling.number("mscale", 0, 100, 0);
  const mscaleAllDim = scaling.number("mscale_all_dim", 0, 100, 0);
  return mscale > 0 && mscaleAllDim > 0 ? temper(mscale) / temper(mscaleAllDim) : temper(1);
}
