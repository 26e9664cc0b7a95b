// Rotary-embedding settings of `config.json`, in both spellings: `rope_parameters` {rope_theta, rope_type, …} of
// newer files, and `rope_theta` beside `rope_scaling` {type or rope_type, …} of published ones.
//
// Defaults follow Hugging Face transformers (modeling_rope_utils). YaRN's attention factor is arXiv 2309.00071,
// equation 22.

import type { z } from "zod";
import type { RopeConfig } from "../../model/config.ts";
import { checked, field, misfit, ModelError, optional, shown } from "../../model/json.ts";

const mostPositions = 1 << 24;
const theta = field.number(2, 1e15), share = field.number(0, 1);
const positions = field.integer(1, mostPositions), factor = field.number(1, 4096);
const positive = field.number(1e-3, 1e6), scale = field.number(0, 100);

/** What every kind has; checked first, since the kind decides about the rest. */
const common = field.object({
  rope_type: optional(field.string),
  type: optional(field.string),
  rope_theta: optional(theta),
  partial_rotary_factor: optional(share),
});

/** The fields of `config.json` that are about rotation; the objects are checked by `parseRope`. */
export const ropeFields = {
  rope_theta: optional(theta),
  partial_rotary_factor: optional(share),
  rope_parameters: optional(field.object({}).loose()),
  rope_scaling: optional(field.object({}).loose()),
};

const stretched = field.object({ factor });
const llama3 = stretched.extend({
  low_freq_factor: positive,
  high_freq_factor: positive,
  original_max_position_embeddings: positions,
});
const yarn = stretched.extend({
  original_max_position_embeddings: optional(positions),
  beta_fast: optional(positive),
  beta_slow: optional(positive),
  attention_factor: optional(field.number(1e-3, 1e3)),
  mscale: optional(scale),
  mscale_all_dim: optional(scale),
  truncate: optional(field.boolean),
});

/**
 * The settings, and how many positions they make usable: YaRN may reach further than `max_position_embeddings`.
 * @throws ModelError naming file and field
 */
export function parseRope(
  file: z.infer<z.ZodObject<typeof ropeFields>>,
  where: string,
  maxPositions: number,
): { rope: RopeConfig; positions: number } {
  const name = file.rope_parameters ? "rope_parameters" : "rope_scaling";
  const scaling = file.rope_parameters ?? file.rope_scaling ?? {};
  const place = `${where}: ${name}`;
  const basic = checked(common, scaling, place);
  const newer = file.rope_parameters ? basic : undefined;
  const partial = newer?.partial_rotary_factor ?? file.partial_rotary_factor ?? 1;
  if (partial !== 1) {
    throw new ModelError(`${where}: partial rotary embeddings (${partial}) are not supported`);
  }
  const theta = newer?.rope_theta ?? file.rope_theta ?? 10_000;
  const type = basic.rope_type ?? basic.type ?? "default";
  switch (type) {
    case "default":
      return { rope: { theta, type }, positions: maxPositions };
    case "linear":
      return {
        rope: { theta, type, factor: checked(stretched, scaling, place).factor },
        positions: maxPositions,
      };
    case "dynamic": {
      const { factor } = checked(stretched, scaling, place);
      return { rope: { theta, type, factor, originalPositions: maxPositions }, positions: maxPositions };
    }
    case "llama3": {
      const given = checked(llama3, scaling, place);
      const { low_freq_factor: lowFrequencyFactor, high_freq_factor: highFrequencyFactor, factor } = given;
      if (highFrequencyFactor <= lowFrequencyFactor) {
        const expected = `greater than low_freq_factor (${lowFrequencyFactor})`;
        misfit(place, "high_freq_factor", expected, highFrequencyFactor);
      }
      const originalPositions = given.original_max_position_embeddings;
      return {
        rope: { theta, type, factor, lowFrequencyFactor, highFrequencyFactor, originalPositions },
        positions: maxPositions,
      };
    }
    case "yarn": {
      const given = checked(yarn, scaling, place), { factor } = given;
      const originalPositions = given.original_max_position_embeddings ?? maxPositions;
      return {
        rope: {
          theta,
          type,
          factor,
          originalPositions,
          betaFast: given.beta_fast ?? 32,
          betaSlow: given.beta_slow ?? 1,
          attentionFactor: given.attention_factor ??
            attentionFactor(factor, given.mscale, given.mscale_all_dim),
          truncate: given.truncate ?? true,
        },
        positions: Math.max(maxPositions, Math.floor(originalPositions * factor)),
      };
    }
    default:
      throw new ModelError(
        `${place}: unsupported rope type ${shown(type)}; known are default, linear, dynamic, llama3, yarn`,
      );
  }
}

function attentionFactor(factor: number, mscale = 0, mscaleAllDim = 0): number {
  const temper = (scale: number) => factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1;
  return mscale > 0 && mscaleAllDim > 0 ? temper(mscale) / temper(mscaleAllDim) : temper(1);
}
