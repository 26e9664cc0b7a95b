// A model in a GGUF file, or in several that were split: `NAME-00001-of-00003.gguf` names the first.

import type { ModelConfig, RopeConfig } from "../../model/config.ts";
import { misfit, ModelError } from "../../model/json.ts";
import type { Model } from "../../model/model.ts";
import { storedTypes } from "../convert.ts";
import type { GgufFiles } from "../families/family.ts";
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
  const { config: json, eosIds, files } = describeGguf(header, path);
  const parsed = parseModelConfig(json, path);
  const config = { ...parsed, rope: await storedRope(header, parsed, files, path) };
  const generation = parseGenerationConfig(
    undefined,
    { json: { eos_token_id: eosIds }, path },
    config.vocabSize,
  );
  const tensors = checkpointTensors(header.tensors, files, config);
  return {
    directory: path,
    config,
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

/** The rotation, with each pair's divisors where the file has them: Llama 3's instead of their rule, and LongRoPE's. */
async function storedRope(
  header: GgufHeader,
  { rope, rotaryDim }: ModelConfig,
  { name }: GgufFiles,
  path: string,
): Promise<RopeConfig> {
  const stored = (part: string) => header.tensors.find((tensor) => tensor.name === `rope_${part}.weight`);
  const [plain, short, long] = [stored("freqs"), stored("factors_short"), stored("factors_long")];
  const { theta } = rope;
  if (plain !== undefined) return { type: "factors", theta, factors: await readFactors(plain, rotaryDim) };
  if (short === undefined || long === undefined) return rope;
  const metadata = new Metadata(header, path),
    number = (key: string) => metadata.number(`${name}.rope.scaling.${key}`);
  return {
    type: "longrope",
    theta,
    short: await readFactors(short, rotaryDim),
    long: await readFactors(long, rotaryDim),
    originalPositions: number("original_context_length") ?? metadata.number(`${name}.context_length`) ?? 1,
    attentionFactor: number("attn_factor") ?? 1,
  };
}

async function readFactors(tensor: TensorInfo, rotaryDim: number): Promise<number[]> {
  const where = `${tensor.file}: ${tensor.name}`;
  if (tensor.dtype !== "F32") throw new ModelError(`${where} has type ${tensor.dtype}; expected F32`);
  if (tensor.shape.join() !== String(rotaryDim / 2)) {
    misfit(where, "shape", `[${rotaryDim / 2}]`, tensor.shape);
  }
  const factors: number[] = [];
  const { file, offset, bytes } = tensor;
  const use = (data: Uint8Array) => factors.push(...storedTypes.get("F32")!.decode(data));
  await readAhead([{ file, offset, bytes, use: (data) => void use(data) }]);
  if (!factors.every((factor) => factor > 0 && factor < Infinity)) {
    throw new ModelError(`${where} holds a factor that is not a positive number`);
  }
  return factors;
}
