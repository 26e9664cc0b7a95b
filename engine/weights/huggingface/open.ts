// A model's folder in the Hugging Face layout: `config.json`, `generation_config.json`, safetensors.

import type { ModelConfig } from "../../model/config.ts";
import type { Model } from "../../model/model.ts";
import { ModelError } from "../../model/json.ts";
import { familyOf } from "../families/mod.ts";
import { turned } from "../families/tensors.ts";
import { readJson } from "../json_file.ts";
import { readTensorIndex, type TensorIndex } from "../tensor_index.ts";
import { withPackedTensors } from "../packed.ts";
import { fp8Block, packingOf, parseModelConfig } from "./config.ts";
import { readEmbeddingConfig } from "./embedding.ts";
import { parseGenerationConfig } from "./generation.ts";

const mostConfigBytes = 4 << 20;

/**
 * Reads the configuration and, unless the weights are to be dummies, the headers of the weight files.
 * @throws ModelError, one line that names the file
 */
export async function openFolder(directory: string, dummy: boolean): Promise<Model> {
  const path = `${directory}/config.json`;
  const json = await readJson(path, mostConfigBytes);
  if (json === undefined) throw new ModelError(`${directory}: not a model's folder (no config.json)`);
  const config = parseModelConfig(json, path);
  const generationPath = `${directory}/generation_config.json`;
  const generationJson = await readJson(generationPath, mostConfigBytes);
  const generation = parseGenerationConfig(
    generationJson === undefined ? undefined : { json: generationJson, path: generationPath },
    { json, path },
    config.vocabSize,
  );
  const packing = packingOf(json, path);
  const stored = dummy ? null : await readTensorIndex(directory);
  const unpacked = stored === null || packing === null ? stored : withPackedTensors(stored, packing);
  const tensors = unpacked && plannedTensors(unpacked, config);
  const embedding = await readEmbeddingConfig(directory);
  return { directory, config, generation, embedding, tensors, packing, fp8Block: fp8Block(json, path) };
}

/** The stored tensors as those of the weight plan. */
function plannedTensors(stored: TensorIndex, config: ModelConfig): TensorIndex {
  const family = familyOf(config.architecture, undefined)!;
  const planned = [...stored.values()].flatMap((tensor) => family.tensors(tensor, config, stored));
  return new Map(planned.map((tensor) => [tensor.name, turned(tensor, config)]));
}
