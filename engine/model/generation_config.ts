// `generation_config.json`: where texts end, and the sampling its makers recommend.

import { Fields } from "./fields.ts";

/** Recommendations of a model's makers; absent where they say nothing. */
export interface GenerationConfig {
  /** Every id that ends a text, of this file and of `config.json`. */
  readonly eosIds: readonly number[];
  /** 0 is greedy. */
  readonly temperature?: number;
  /** 0 keeps all tokens. */
  readonly topK?: number;
  /** 1 keeps all tokens. */
  readonly topP?: number;
  /** 0 keeps all tokens. */
  readonly minP?: number;
  /** 1 is none. */
  readonly repetitionPenalty?: number;
}

/**
 * Reads a parsed `generation_config.json` (undefined where there is none) beside a parsed `config.json`.
 * @throws ModelError naming file and field
 */
export function parseGenerationConfig(
  generation: { readonly json: unknown; readonly path: string } | undefined,
  config: { readonly json: unknown; readonly path: string },
  vocabSize: number,
): GenerationConfig {
  const fromConfig = eosIds(new Fields(config.json, config.path), vocabSize);
  if (!generation) return { eosIds: fromConfig };
  const fields = new Fields(generation.json, generation.path);
  const eos = [...new Set([...eosIds(fields, vocabSize), ...fromConfig])];
  const optional = (name: string, min: number, max: number) =>
    fields.has(name) ? fields.number(name, min, max) : undefined;
  const temperature = optional("temperature", 0, 100);
  const topK = fields.has("top_k") ? fields.integer("top_k", -1, 1 << 30) : undefined;
  const topP = optional("top_p", 0, 1);
  const minP = optional("min_p", 0, 1);
  const repetitionPenalty = optional("repetition_penalty", 1e-3, 100);
  // Without sampling the makers mean greedy, whatever else stands there.
  if (fields.has("do_sample") && !fields.boolean("do_sample", false)) return { eosIds: eos, temperature: 0 };
  return {
    eosIds: eos,
    ...(temperature === undefined ? {} : { temperature }),
    ...(topK === undefined ? {} : { topK: Math.max(0, topK) }),
    ...(topP === undefined || topP === 0 ? {} : { topP }),
    ...(minP === undefined ? {} : { minP }),
    ...(repetitionPenalty === undefined ? {} : { repetitionPenalty }),
  };
}

function eosIds(fields: Fields, vocabSize: number): number[] {
  const value = fields.raw("eos_token_id");
  if (value === undefined) return [];
  const ids: unknown[] = Array.isArray(value) ? value : [value];
  if (ids.length > 256) fields.fail("eos_token_id", "at most 256 token ids");
  return ids.map((id) => {
    if (typeof id !== "number" || !Number.isSafeInteger(id) || id < 0 || id >= vocabSize) {
      return fields.fail("eos_token_id", `token ids below ${vocabSize}`);
    }
    return id;
  });
}
