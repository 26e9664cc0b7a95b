// `generation_config.json`: where texts end, and the sampling its makers recommend.

import { z } from "zod";
import type { GenerationConfig } from "../../model/config.ts";
import { checked, field, optional } from "../../model/json.ts";

/** A parsed file. */
export interface JsonFile {
  /** What it holds. */
  readonly json: unknown;
  /** Its name, for errors. */
  readonly path: string;
}

/** Ids that end a text: one or several. */
const endsOf = (vocabSize: number) => {
  const error = `token ids below ${vocabSize}`;
  const id = z.int({ error }).min(0, { error }).max(vocabSize - 1, { error });
  return field.object({ eos_token_id: optional(z.union([id, field.list(id, 256)], { error })) });
};

const sampling = field.object({
  do_sample: optional(field.boolean),
  temperature: optional(field.number(0, 100)),
  top_k: optional(field.integer(-1, 1 << 30)),
  top_p: optional(field.number(0, 1)),
  min_p: optional(field.number(0, 1)),
  repetition_penalty: optional(field.number(1e-3, 100)),
});

/**
 * Reads a parsed `generation_config.json` (undefined where there is none) beside a parsed `config.json`.
 * @throws ModelError naming file and field
 */
export function parseGenerationConfig(
  generation: JsonFile | undefined,
  config: JsonFile,
  vocabSize: number,
): GenerationConfig {
  const ends = ({ json, path }: JsonFile) =>
    [checked(endsOf(vocabSize), json, path).eos_token_id ?? []].flat();
  if (!generation) return { eosIds: ends(config) };
  const given = checked(sampling, generation.json, generation.path);
  const eosIds = [...new Set([...ends(generation), ...ends(config)])];
  // Without sampling the makers mean greedy, whatever else stands there.
  if (given.do_sample === false) return { eosIds, temperature: 0 };
  const advice = {
    temperature: given.temperature,
    topK: given.top_k === undefined ? undefined : Math.max(0, given.top_k),
    topP: given.top_p === 0 ? undefined : given.top_p,
    minP: given.min_p,
    repetitionPenalty: given.repetition_penalty,
  };
  const said = Object.entries(advice).filter(([, value]) => value !== undefined);
  return { eosIds, ...Object.fromEntries(said) };
}
