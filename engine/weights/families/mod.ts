// All families: the one place where they are listed.

import type { Family } from "./family.ts";
import { gemma2 } from "./gemma2.ts";
import { gemma3 } from "./gemma3.ts";
import { gptOss } from "./gpt_oss.ts";
import { granite } from "./granite.ts";
import { llama } from "./llama.ts";
import { mistral } from "./mistral.ts";
import { olmo2 } from "./olmo2.ts";
import { phi3 } from "./phi3.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen3, qwen3Moe } from "./qwen3.ts";
import { smollm3 } from "./smollm3.ts";

/** Every family that can be run. */
export const families: readonly Family[] = [
  llama,
  mistral,
  qwen2,
  qwen3,
  qwen3Moe,
  smollm3,
  phi3,
  granite,
  olmo2,
  gemma2,
  gemma3,
  gptOss,
];

/** Names of the architectures that can be run, as `config.json` spells them. */
export const knownArchitectures: readonly string[] = families.flatMap(({ architectures }) => architectures);

/** The family of an architecture; where none is named, of a `model_type`. */
export function familyOf(
  name: string | undefined,
  modelType: string | undefined,
  known: readonly Family[] = families,
): Family | undefined {
  return known.find(({ architectures, modelTypes }) =>
    name === undefined ? modelTypes.includes(modelType ?? "") : architectures.includes(name)
  );
}
