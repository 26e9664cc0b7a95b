// Opens a model: reads and checks its configuration and the headers of its weight files, but no weights.
// Cheap, so that a model that cannot run is refused before any device is touched.

import { type DType, dtypes, formats } from "../../kernels/formats/mod.ts";
import { matrixBytes } from "../../kernels/ops.ts";
import { storedTypes } from "../weights/convert.ts";
import { ggufFile } from "../weights/gguf/find.ts";
import { openGguf } from "../weights/gguf/open.ts";
import { openFolder } from "../weights/huggingface/open.ts";
import { planDecoder, planParts } from "../weights/plan.ts";
import type { ModelConfig } from "./config.ts";
import type { Model } from "./model.ts";
import type { Shard } from "../weights/shard.ts";

/** What `--dtype` may say; "auto" keeps the checkpoint's type, other types are made while loading. */
export type DTypeOption = "auto" | (typeof formats)[DType]["option"];

/** All that `--dtype` may say. */
export const dtypeOptions: readonly DTypeOption[] = ["auto", ...dtypes.map((dtype) => formats[dtype].option)];

/**
 * Opens a folder in the Hugging Face layout, a GGUF file, or a folder with one GGUF file (the first, where it is
 * split). `dummy`: the weights are not needed.
 * @throws ModelError, one line that names the file
 */
export async function openModel(path: string, options: { dummy?: boolean } = {}): Promise<Model> {
  const gguf = await ggufFile(path);
  return gguf === null
    ? await openFolder(path, options.dummy ?? false)
    : await openGguf(gguf, options.dummy ?? false);
}

/** The type that the weights have on the device. */
export function deviceType(model: Model, option: DTypeOption): DType {
  if (option !== "auto") return dtypes.find((dtype) => formats[dtype].option === option)!;
  const stored = model.tensors?.get("model.embed_tokens.weight")?.dtype;
  return storedTypes.get(stored ?? "")?.native ?? model.config.dtype;
}

/** Bytes that one rank's weights take on its device. */
export function estimateWeightBytes(config: ModelConfig, dtype: DType, shard: Shard): number {
  const { matrices, vectors } = planParts(planDecoder(config, dtype, shard));
  let bytes = 0;
  for (const { spec } of matrices) bytes += matrixBytes(spec);
  for (const { pieces } of vectors) {
    for (const { width } of pieces) bytes += width * 4;
  }
  return bytes;
}
