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
  // The base of layers with a window, where it is another one.
  rope_local_base_freq: optional(theta),
  // Of LongRoPE; others have it in their scaling.
  original_max_position_embeddings: optional(positions),
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
const divisors = field.list(positive, 1024);
const longrope = field.object({
  short_factor: divisors,
  long_factor: divisors,
  factor: optional(factor),
  original_max_position_embeddings: optional(positions),
  attention_factor: optional(field.number(1e-3, 1e3)),
});
type Fields = z.infer<z.ZodObject<typeof ropeFields>>;

/** How a model rotates: see `ModelConfig`. */
export interface Rotation {
  readonly rope: RopeConfig;
  readonly localRope: RopeConfig | null;
  readonly rotaryDim: number;
  /** How many positions that makes usable: YaRN may reach further than `max_position_embeddings`. */
  readonly positions: number;
}

/**
 * The settings. Newer files have those of local and of global layers under their names in `rope_parameters`.
 * @throws ModelError naming file and field
 */
export function parseRopes(file: Fields, where: string, headDim: number, maxPositions: number): Rotation {
  const parameters = file.rope_parameters;
  const of = (layers: string) => parameters?.[layers] as Record<string, unknown> | undefined;
  const [full, local] = [of("full_attention"), of("sliding_attention")];
  const given = { ...file, ...(full === undefined ? {} : { rope_parameters: full }) };
  const { rope, partial, positions } = parseRope(given, where, headDim, maxPositions);
  const rotaryDim = Math.floor(headDim * partial);
  if (rotaryDim < 2 || rotaryDim % 2 !== 0) {
    misfit(
      where,
      "partial_rotary_factor",
      `such that pairs of the ${headDim} numbers of a head turn`,
      partial,
    );
  }
  const { rope_local_base_freq: localTheta } = file;
  const localRope = local !== undefined
    ? parseRope({ ...file, rope_parameters: local }, where, headDim, maxPositions).rope
    : localTheta === undefined
    ? null
    : { type: "default", theta: localTheta } as const;
  return { rope, localRope, rotaryDim, positions };
}

function parseRope(
  file: Fields,
  where: string,
  headDim: number,
  maxPositions: number,
): { rope: RopeConfig; partial: number; positions: number } {
  const name = file.rope_parameters ? "rope_parameters" : "rope_scaling";
  const scaling = file.rope_parameters ?? file.rope_scaling ?? {};
  const place = `${where}: ${name}`;
  const basic = checked(common, scaling, place);
  const newer = file.rope_parameters ? basic : undefined;
  const partial = newer?.partial_rotary_factor ?? file.partial_rotary_factor ?? 1;
  const turning = Math.floor(headDim * partial) / 2;
  const theta = newer?.rope_theta ?? file.rope_theta ?? 10_000;
  const type = basic.rope_type ?? basic.type ?? "default";
  switch (type) {
    case "default":
      return { rope: { theta, type }, partial, positions: maxPositions };
    case "linear":
      return {
        rope: { theta, type, factor: checked(stretched, scaling, place).factor },
        partial,
        positions: maxPositions,
      };
    case "dynamic": {
      const { factor } = checked(stretched, scaling, place);
      return {
        rope: { theta, type, factor, originalPositions: maxPositions },
        partial,
        positions: maxPositions,
      };
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
        partial,
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
        partial,
        positions: Math.max(maxPositions, Math.floor(originalPositions * factor)),
      };
    }
    // "su" is what Phi-3's first files call it.
    case "longrope":
    case "su": {
      const given = checked(longrope, scaling, place);
      for (const name of ["short_factor", "long_factor"] as const) {
        if (given[name].length !== turning) misfit(place, name, `a list of ${turning} numbers`, given[name]);
      }
      const originalPositions = file.original_max_position_embeddings ??
        given.original_max_position_embeddings ?? maxPositions;
      const factor = given.factor ?? maxPositions / originalPositions;
      return {
        rope: {
          theta,
          type: "longrope",
          short: given.short_factor,
          long: given.long_factor,
          originalPositions,
          attentionFactor: given.attention_factor ??
            (factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(originalPositions))),
        },
        partial,
        positions: maxPositions,
      };
    }
    default:
      throw new ModelError(
        `${place}: unsupported rope type ${
          shown(type)
        }; known are default, linear, dynamic, llama3, yarn, longrope`,
      );
  }
}

function attentionFactor(factor: number, mscale = 0, mscaleAllDim = 0): number {
  const temper = (scale: number) => factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1;
  return mscale > 0 && mscaleAllDim > 0 ? temper(mscale) / temper(mscaleAllDim) : temper(1);
}
