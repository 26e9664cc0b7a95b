// A model in a GGUF file, or in several that were split: `NAME-00001-of-00003.gguf` names the first.

import type { ModelConfig } from "../../model/config.ts";
import { misfit, ModelError } from "../../model/json.ts";
import type { Model } from "../../model/model.ts";
import { storedTypes } from "../convert.ts";
import { parseModelConfig } from "../huggingface/config.ts";
import { parseGenerationConfig } from "../huggingface/generation.ts";
import { readAhead } from "../read_ahead.ts";
import type { TensorInfo } from "../safetensors.ts";
import { describeGguf } from "./config.ts";
import { type GgufHeader, readGgufHeader } from "./header.ts";
import { Metadata } from "./metadata.ts";
import { checkpointTensors } from "./names.ts";

const mostFiles = 1000;

/**
 * Reads the headers of a model's files; no weights.
 * @throws ModelError, one line that names the file
 */
export async function openGguf(path: string, dummy: boolean): Promise<Model> {
  const header = await readParts(path);
  const { config: json, eosIds, interleaved } = describeGguf(header, path);
  const config = parseModelConfig(json, path);
  const factors = header.tensors.find(({ name }) => name === "rope_freqs.weight");
  const generation = parseGenerationConfig(
    undefined,
    { json: { eos_token_id: eosIds }, path },
    config.vocabSize,
  );
  const tensors = checkpointTensors(header.tensors, interleaved);
  return {
    directory: path,
    config: factors === undefined ? config : { ...config, rope: await readFactors(factors, config) },
    generation,
    embedding: ggufEmbedding(new Metadata(header, path)),
    tensors: dummy ? null : new Map(tensors.map((tensor) => [tensor.name, tensor])),
    fp8Block: [1, 1],
  };
}

/** llama.cpp's numbers of poolings; a model without one, or one that ranks, is no embedding model. */
function ggufEmbedding(metadata: Metadata): Model["embedding"] {
  const type = metadata.number(`${metadata.string("general.architecture")}.pooling_type`);
  const pooling = ([null, "mean", "cls", "last"] as const)[type ?? 0] ?? null;
  return pooling && { pooling, normalize: true };
}

/** The header of a file and of those that it was split into, as one. */
async function readParts(path: string): Promise<GgufHeader> {
  const first = await readGgufHeader(path);
  const count = new Metadata(first, path).number("split.count") ?? 1;
  if (count <= 1) return first;
  const name = /^(.*)-00001-of-(\d{5})\.gguf$/.exec(path);
  if (name === null || Number(name[2]) !== count || count > mostFiles) {
    throw new ModelError(`${path}: this is one of ${count} files; give the one named …-00001-of-000NN.gguf`);
  }
  const rest = Array.from(
    { length: count - 1 },
    (_, i) => `${name[1]}-${String(i + 2).padStart(5, "0")}-of-${name[2]}.gguf`,
  );
  const others = await Promise.all(rest.map((part) => readGgufHeader(part)));
  return { metadata: first.metadata, tensors: [first, ...others].flatMap(({ tensors }) => tensors) };
}

/** Llama 3's scaling, which GGUF stores as each pair's divisor instead of the rule. */
async function readFactors(tensor: TensorInfo, { rope, headDim }: ModelConfig): Promise<ModelConfig["rope"]> {
  const where = `${tensor.file}: ${tensor.name}`;
  if (tensor.dtype !== "F32") throw new ModelError(`${where} has type ${tensor.dtype}; expected F32`);
  if (tensor.shape.join() !== String(headDim / 2)) misfit(where, "shape", `[${headDim / 2}]`, tensor.shape);
  const factors: number[] = [];
  const { file, offset, bytes } = tensor;
  const use = (data: Uint8Array) => factors.push(...storedTypes.get("F32")!.decode(data));
  await readAhead([{ file, offset, bytes, use: (data) => void use(data) }]);
  if (!factors.every((factor) => factor > 0 && factor < Infinity)) {
    throw new ModelError(`${where} holds a factor that is not a positive number`);
  }
  return { type: "factors", theta: rope.theta, factors };
}
