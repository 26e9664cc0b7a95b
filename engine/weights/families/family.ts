// A family of models: what its makers call it, what it fixes, what it assumes where a file is silent, and how its
// checkpoints name things. A new family whose flags the decoder has is one file beside this one, and a line in
// `mod.ts`.
//
// Flags are those of `ModelConfig`, where each is explained. Facts come from the model cards, and from the
// configuration classes of Hugging Face transformers.

import { z } from "zod";
import type { ModelConfig } from "../../model/config.ts";
import { checked, field } from "../../model/json.ts";
import type { TensorInfo } from "../safetensors.ts";
import type { TensorIndex } from "../tensor_index.ts";

/** One family. */
export interface Family {
  /** Its architecture, as `config.json` spells it; those that follow have this one inside or behave the same. */
  readonly architectures: readonly [string, ...string[]];
  /** `model_type` of `config.json`, and of a text part in a larger model's. */
  readonly modelTypes: readonly [string, ...string[]];
  /** Its files in GGUF; null where they cannot be read. */
  readonly gguf: GgufFiles | null;
  /** Fields of `config.json` where the file has none. */
  readonly defaults: Readonly<Record<string, unknown>>;
  /** Biases on q, k, v: always, never, or as `attention_bias` says. */
  readonly qkvBias: boolean | "attention_bias";
  /** Bias on the attention's output projection. */
  readonly outputBias: boolean | "attention_bias";
  /** Whether `mlp_bias` counts. */
  readonly hasMlpBias: boolean;
  /** Whether its layers have experts. */
  readonly experts: boolean;
  /** "always": `sliding_window` holds whenever it is set; "opt-in": only with `use_sliding_window`. */
  readonly window: "never" | "always" | "opt-in" | "opt-in late layers";
  /** Flags that are not the plain ones; `parsed` is what the fields above make of the file. */
  readonly flags: (file: unknown, path: string, parsed: ModelConfig) => Partial<ModelConfig>;
  /** Tensors of its safetensors files under the names of the weight plan (those of Llama's checkpoints). */
  readonly tensors: (tensor: TensorInfo, config: ModelConfig, all: TensorIndex) => readonly TensorInfo[];
}

/** What a family's GGUF files have that Llama's do not. */
export interface GgufFiles {
  /** What GGUF calls it. */
  readonly name: string;
  /** Whether the rows of a head of q and k are (0, half, 1, half + 1, …), so that neighbours turn together. */
  readonly interleaved?: boolean;
  /** Parts of a layer, by GGUF's name; the others are Llama's (`gguf/names.ts`). */
  readonly parts?: Readonly<Record<string, string>>;
  /** Fields of `config.json`, and the keys of the metadata (behind the family's name) that say the same. */
  readonly fields?: Readonly<Record<string, string>>;
  /** False where YaRN's first and last pair are not rounded to whole ones. */
  readonly yarnTruncates?: boolean;
  /** Fields that no key says; `number` gives those that some do. */
  readonly facts?: (number: (key: string) => number | undefined) => Readonly<Record<string, unknown>>;
}

/** A family without anything of its own: Llama's blocks without biases. */
export const plain = {
  gguf: null,
  defaults: {},
  qkvBias: false,
  outputBias: false,
  hasMlpBias: false,
  experts: false,
  window: "never",
  flags: () => ({}),
  tensors: (tensor: TensorInfo) => [tensor],
} as const satisfies Partial<Family>;

/** Flags that follow from fields which only this family has. */
export function flagsOf<T extends z.ZodRawShape>(
  fields: T,
  flags: (file: z.infer<z.ZodObject<T>>, parsed: ModelConfig) => Partial<ModelConfig>,
): Family["flags"] {
  const schema = field.object(fields);
  return (file, path, parsed) => flags(checked<z.infer<z.ZodObject<T>>>(schema, file, path), parsed);
}
