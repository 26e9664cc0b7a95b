// Dummy weights in the formats of a Q4_K_M file, for timing a shape without a checkpoint of it: four bits, six for the
// embedding, the head, and v and down of half of the layers, as llama.cpp mixes them. What is one matrix here and has
// parts of two formats there becomes q8, as when such a file is read.

import type { DecoderWeights } from "../../engine/model/decoder.ts";
import { loadDecoderWeights, type WeightBackend } from "../../engine/model/load.ts";
import { mapTree } from "../../engine/model/layers.ts";
import type { Model } from "../../engine/model/model.ts";
import { DummySource, dummyVector } from "../../engine/weights/dummy.ts";
import { type ChooseType, planDecoder, planParts } from "../../engine/weights/plan.ts";
import { type DTypeOption, dtypeOptions } from "../../engine/weights/device_types.ts";

/** What a bench's `--dtype` may say. */
export type BenchDType = DTypeOption | "q4_k_m";

/** All of them; and without float32, which is no format to serve in. */
export const benchDTypes: readonly BenchDType[] = [...dtypeOptions, "q4_k_m"];
export const servedDTypes: readonly BenchDType[] = benchDTypes.filter((dtype) => dtype !== "float32");

/** Weights of a model opened without tensors, in one of the engine's types or the mixture. */
export async function loadDummy(
  model: Model,
  backend: WeightBackend,
  dtype: BenchDType,
): Promise<DecoderWeights> {
  const shard = { rank: 0, size: 1 };
  if (dtype !== "q4_k_m") return await loadDecoderWeights(model, backend, { dtype, shard });
  const plan = planDecoder(model.config, mixture(model.config.numLayers), shard);
  const parts = planParts(plan);
  const matrices = new Map(parts.matrices.map((plan) => [plan, backend.createMatrix(plan.spec)]));
  const values = new Map(parts.vectors.map((plan) => [plan, dummyVector(plan)]));
  await new DummySource().fill(
    matrices,
    values,
    (matrix, row, data) => backend.writeRows(matrix, row, data),
    () => {},
  );
  const vectors = new Map(parts.vectors.map((plan) => [plan, backend.createVector(values.get(plan)!)]));
  return mapTree(plan, (matrix) => matrices.get(matrix)!, (vector) => vectors.get(vector)!);
}

function mixture(layers: number): ChooseType {
  return (role, pieces) => {
    if (role === "router") return "bf16";
    if (role === "vocabulary") return "q6_k";
    const layer = Number(/layers\.(\d+)\./.exec(pieces[0]!.tensor)?.[1] ?? 0);
    const eighth = Math.floor(layers / 8);
    const finer = layer < eighth || layer >= Math.floor(7 * layers / 8) || (layer - eighth) % 3 === 2;
    if (!finer) return "q4_k";
    if (pieces.some(({ tensor }) => tensor.includes("v_proj"))) return "q8";
    return pieces[0]!.tensor.includes("down_proj") ? "q6_k" : "q4_k";
  };
}
