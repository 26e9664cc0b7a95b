// The matrix products of a model, as a step of it meets them.

import type { ModelConfig } from "../../engine/model/config.ts";
import type { LinearShape, Preparation } from "../../kernels/webgpu/linear/linear.ts";

export interface Product {
  readonly name: string;
  readonly shape: LinearShape;
  /** What the product behind it wants, where that is tiled; it is part of this one's cost. */
  readonly next: Preparation | null;
}

/** The products of a layer, and the head. The input of tiled ones is prepared already. */
export function modelProducts(config: ModelConfig): Product[] {
  const { hiddenSize, intermediateSize, numHeads, numKvHeads, headDim, vocabSize } = config;
  const make = (
    rows: number,
    columns: number,
    epilogue: LinearShape["epilogue"],
    input: Partial<LinearShape>,
  ): LinearShape => ({
    rows,
    columns,
    dtype: "bf16",
    epilogue,
    normEpsilon: null,
    bias: false,
    input: "f32",
    output: "f32",
    outputStride: epilogue === "gate-mul" ? rows / 2 : rows,
    outputOffset: 0,
    countWord: 0,
    ...input,
  });
  const normed = { normEpsilon: 1e-6, prepared: true }, halves = { input: "f16" } as const;
  const norm: Preparation = { normEpsilon: 1e-6, type: "f16" };
  const scale: Preparation = { normEpsilon: null, type: "f16" };
  const wide = numHeads * headDim;
  return [
    { name: "q/k/v", shape: make(wide + 2 * numKvHeads * headDim, hiddenSize, "store", normed), next: null },
    { name: "output", shape: make(hiddenSize, wide, "add", halves), next: norm },
    { name: "gate/up", shape: make(2 * intermediateSize, hiddenSize, "gate-mul", normed), next: scale },
    { name: "down", shape: make(hiddenSize, intermediateSize, "add", { prepared: true }), next: norm },
    { name: "head", shape: make(vocabSize, hiddenSize, "store", halves), next: null },
  ];
}
