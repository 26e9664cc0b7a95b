// `generation_config.json`: where texts end, and the sampling its makers recommend.

import { z } from "zod";
import type { GenerationConfig } from "../../model/config.ts";
import { samplerFields, samplerOf } from "../../sampler_fields.ts";
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

/** What the makers may say about sampling. Some write the excluded 0 for "off". */
const sampling = field.object({
  do_sample: optional(field.boolean),
  ...Object.fromEntries(samplerFields.map(({ jsonName, min, max, integer }) => {
    return [jsonName, optional(integer ? field.integer(min, max) : field.number(min, max))];
  })),
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
  const eosIds = [...new Set([...ends(generation), ...ends(config)])];
  const given = checked(sampling, generation.json, generation.path) as Readonly<Record<string, unknown>>;
  // Without sampling the makers mean greedy, whatever else stands there.
  if (given.do_sample === false) return { eosIds, temperature: 0 };
  const said = samplerFields.filter(({ jsonName, min, open }) =>
    given[jsonName] !== undefined && !(open && given[jsonName] === min)
  );
  const sampler = samplerOf(given);
  return { eosIds, ...Object.fromEntries(said.map(({ name }) => [name, sampler[name]])) };
}
