// Loads a model's weights onto a device: plans which stored tensors make up which matrix, checks all of them, then
// streams them to the backend. Each rank keeps only its part.

import type { Backend } from "../../kernels/ops.ts";
import { chooseTypes, type DTypeOption } from "../weights/device_types.ts";
import { DummySource, dummyVector } from "../weights/dummy.ts";
import { FileSource } from "../weights/file_source.ts";
import { type DecoderPlan, planDecoder, planParts } from "../weights/plan.ts";
import type { Shard } from "../weights/shard.ts";
import type { DecoderWeights } from "./decoder.ts";
import { mapTree } from "./layers.ts";
import type { Model } from "./model.ts";

/** How weights are loaded. */
export interface LoadOptions {
  /** Type on the device. */
  readonly dtype: DTypeOption;
  /** This rank's share. */
  readonly shard: Shard;
  /** Bytes read (or made) so far, and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** What loading needs of a backend. */
export type WeightBackend = Pick<Backend, "dtypes" | "createMatrix" | "writeRows" | "createVector">;

/** Which tensors make up one rank's weights, and their types on a backend's device. */
export function planWeights(
  model: Model,
  backend: Pick<Backend, "dtypes">,
  { dtype, shard }: Pick<LoadOptions, "dtype" | "shard">,
): DecoderPlan {
  return planDecoder(model.config, chooseTypes(model, dtype, backend), shard);
}

/**
 * Puts one rank's share of a model on its device. A model opened without tensors gets dummy weights.
 * @throws ModelError naming the tensor that is missing or has the wrong shape or type, before anything is loaded
 */
export async function loadDecoderWeights(
  model: Model,
  backend: WeightBackend,
  options: LoadOptions,
): Promise<DecoderWeights> {
  const plan = planWeights(model, backend, options);
  const { matrices: matrixPlans, vectors: vectorPlans } = planParts(plan);
  const source = model.tensors === null
    ? new DummySource()
    : await FileSource.open(model, model.tensors, plan);

  const matrices = new Map(matrixPlans.map((plan) => [plan, backend.createMatrix(plan.spec)]));
  const values = new Map(vectorPlans.map((plan) => [plan, dummyVector(plan)]));
  await source.fill(
    matrices,
    values,
    (matrix, row, data) => backend.writeRows(matrix, row, data),
    options.onProgress ?? (() => {}),
  );
  const vectors = new Map(vectorPlans.map((plan) => {
    const stored = values.get(plan)!;
    return [plan, backend.createVector(plan.scale === 1 ? stored : stored.map((x) => x * plan.scale))];
  }));
  return mapTree(plan, (matrix) => matrices.get(matrix)!, (vector) => vectors.get(vector)!);
}
