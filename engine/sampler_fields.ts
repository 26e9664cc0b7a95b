// What clients, command line and model files may say about sampling: one table of names, bounds and meanings. The
// names are spelled min_p in JSON, min-p on the command line and minP inside.

import { plainSampler, type Sampler } from "../kernels/sampling.ts";

/** One field of {@link Sampler}. */
export interface SamplerField {
  /** Its name inside. */
  readonly name: keyof Sampler;
  /** Its name in JSON. */
  readonly jsonName: string;
  /** Least value; with `open`, the bound itself is not allowed. */
  readonly min: number;
  /** Largest value. */
  readonly max: number;
  /** Whether `min` itself is refused. */
  readonly open?: true;
  /** Whether only whole numbers are allowed. */
  readonly integer?: true;
  /** What it does, for `--help` and the API's description. */
  readonly help: string;
}

const bounds: { readonly [name in keyof Sampler]: Omit<SamplerField, "name" | "jsonName"> } = {
  temperature: { min: 0, max: 2, help: "0 is greedy" },
  topK: {
    min: -1,
    max: 2 ** 31 - 1,
    integer: true,
    help: "keep the K most likely; 0, -1: all",
  },
  topP: { min: 0, open: true, max: 1, help: "keep the most likely tokens up to this probability" },
  minP: { min: 0, max: 1, help: "keep tokens at least this times as likely as the best" },
  presencePenalty: { min: -2, max: 2, help: "penalty for tokens already in the answer" },
  frequencyPenalty: { min: -2, max: 2, help: "penalty per repetition in the answer" },
  repetitionPenalty: { min: 0, open: true, max: 2, help: "divides the logits of tokens already there" },
};

/** All fields, in order. */
export const samplerFields: readonly SamplerField[] = Object.entries(bounds).map(([name, bound]) => ({
  name: name as keyof Sampler,
  jsonName: name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
  ...bound,
}));

/** A sampler from values by JSON name, where missing and null ones are taken from `fallback`. */
export function samplerOf(
  values: Readonly<Record<string, unknown>>,
  fallback: Partial<Sampler> = {},
): Sampler {
  const base = { ...plainSampler, ...fallback };
  const given = samplerFields.flatMap(({ name, jsonName }) => {
    const value = values[jsonName];
    return typeof value === "number" ? [[name, name === "topK" ? Math.max(0, value) : value]] : [];
  });
  return { ...base, ...Object.fromEntries(given) };
}
