// Opens a model's folder: reads and checks its configuration and the headers of its weight files, but no weights.
// Cheap, so that a model that cannot run is refused before any device is touched.

import { type DType, dtypes, formats } from "../../kernels/formats/mod.ts";
import { matrixBytes } from "../../kernels/ops.ts";
import { isStoredType, nativeType } from "../weights/convert.ts";
import { readJson } from "../weights/json_file.ts";
import { planDecoder, planParts } from "../weights/plan.ts";
import { readTensorIndex, type TensorIndex } from "../weights/tensor_index.ts";
import type { GenerationConfig, ModelConfig } from "./config.ts";
import type { Shard } from "../weights/shard.ts";
import { ModelError } from "./json.ts";
import { fp8Block, parseModelConfig } from "../weights/huggingface/config.ts";
import { parseGenerationConfig } from "../weights/huggingface/generation.ts";

/** What `--dtype` may say; "auto" keeps the checkpoint's type, other types are made while loading. */
export type DTypeOption = "auto" | (typeof formats)[DType]["option"];

/** All that `--dtype` may say. */
export const dtypeOptions: readonly DTypeOption[] = ["auto", ...dtypes.map((dtype) => formats[dtype].option)];

/** A model's folder, checked. */
export interface Model {
  /** Where its files are. */
  readonly directory: string;
  /** Its shape. */
  readonly config: ModelConfig;
  /** Its makers' advice on sampling, and where texts end. */
  readonly generation: GenerationConfig;
  /** Null for dummy weights, which need no files. */
  readonly tensors: TensorIndex | null;
  /** Rows and columns that share a scale in an fp8 checkpoint. */
  readonly fp8Block: readonly [rows: number, columns: number];
}

const mostConfigBytes = 4 << 20;

/**
 * Reads `config.json`, `generation_config.json` and, unless the weights are to be dummies, the tensor index.
 * @throws ModelError, one line that names the file
 */
export async function openModel(directory: string, options: { dummy?: boolean } = {}): Promise<Model> {
  const path = `${directory}/config.json`;
  const json = await readJson(path, mostConfigBytes);
  if (json === undefined) {
    throw new ModelError(
      `${directory}: not a model's folder (${await exists(directory) ? "no config.json" : "no such folder"})`,
    );
  }
  const config = parseModelConfig(json, path);
  const generationPath = `${directory}/generation_config.json`;
  const generationJson = await readJson(generationPath, mostConfigBytes);
  const generation = parseGenerationConfig(
    generationJson === undefined ? undefined : { json: generationJson, path: generationPath },
    { json, path },
    config.vocabSize,
  );
  const tensors = options.dummy ? null : await readTensorIndex(directory);
  return { directory, config, generation, tensors, fp8Block: fp8Block(json, path) };
}

/** The type that the weights have on the device. */
export function deviceType(model: Model, option: DTypeOption): DType {
  if (option !== "auto") return dtypes.find((dtype) => formats[dtype].option === option)!;
  const stored = model.tensors?.get("model.embed_tokens.weight")?.dtype;
  return stored !== undefined && isStoredType(stored) ? nativeType(stored) : model.config.dtype;
}

/** Bytes that one rank's weights take on its device. */
export function estimateWeightBytes(config: ModelConfig, dtype: DType, shard: Shard): number {
  const { matrices, vectors } = planParts(planDecoder(config, dtype, shard));
  let bytes = 0;
  for (const { spec } of matrices) bytes += matrixBytes(spec);
  for (const { pieces } of vectors) {
    for (const { range } of pieces) bytes += (range.end - range.start) * 4;
  }
  return bytes;
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch {
    return false;
  }
}
