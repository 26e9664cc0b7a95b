// All tensors of a model: one `model.safetensors`, or the shards that `model.safetensors.index.json` names. Embedding
// models are often stored without their head, and then without the "model." in front of every name.

import { ModelError, shown } from "../model/json.ts";
import { readJson } from "./json_file.ts";
import { readSafetensorsHeader, type TensorInfo } from "./safetensors.ts";

/** Tensors by name. */
export type TensorIndex = ReadonlyMap<string, TensorInfo>;

const mostShards = 4096;
const mostIndexBytes = 64 << 20;

/**
 * Reads the headers (not the data) of a model's weight files.
 * @throws ModelError naming the file at fault, also when there are no weights
 */
export async function readTensorIndex(directory: string): Promise<TensorIndex> {
  const indexPath = `${directory}/model.safetensors.index.json`;
  const json = await readJson(indexPath, mostIndexBytes);
  if (json === undefined) {
    const tensors = await readSafetensorsHeader(`${directory}/model.safetensors`);
    return withPrefix(new Map(tensors.map((tensor) => [tensor.name, tensor])));
  }
  const weightMap = parseWeightMap(json, indexPath);
  const index = new Map<string, TensorInfo>();
  for (const file of new Set(weightMap.values())) {
    for (const tensor of await readSafetensorsHeader(`${directory}/${file}`)) {
      // A shard may hold what the index assigns to another one; only the assigned copy counts.
      if (weightMap.get(tensor.name) === file) index.set(tensor.name, tensor);
    }
  }
  for (const [name, file] of weightMap) {
    if (!index.has(name)) throw new ModelError(`${indexPath}: tensor ${shown(name)} is not in ${file}`);
  }
  return withPrefix(index);
}

/** The names that a model with a head has. */
function withPrefix(index: TensorIndex): TensorIndex {
  if (!index.has("embed_tokens.weight")) return index;
  return new Map([...index.values()].map((tensor) => {
    const name = `model.${tensor.name}`;
    return [name, { ...tensor, name }];
  }));
}

/** Tensor name → file name. Names are of files in the same folder, never paths. */
export function parseWeightMap(json: unknown, path: string): Map<string, string> {
  const map = typeof json === "object" && json !== null
    ? (json as { weight_map?: unknown }).weight_map
    : undefined;
  if (typeof map !== "object" || map === null || Array.isArray(map)) {
    throw new ModelError(`${path}: "weight_map" must be an object`);
  }
  const entries = Object.entries(map as Record<string, unknown>).map(([name, file]): [string, string] => {
    if (typeof file !== "string" || !/^[\w-][\w.-]{0,200}\.safetensors$/.test(file)) {
      throw new ModelError(
        `${path}: ${shown(file)} (for tensor ${shown(name)}) is not the name of a safetensors file`,
      );
    }
    return [name, file];
  });
  if (entries.length === 0) throw new ModelError(`${path}: "weight_map" is empty`);
  if (new Set(entries.map(([, file]) => file)).size > mostShards) {
    throw new ModelError(`${path}: more than ${mostShards} weight files`);
  }
  return new Map(entries);
}
