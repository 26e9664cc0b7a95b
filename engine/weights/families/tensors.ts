// Stored tensors as those of the weight plan: other names, parts of matrices that are stored as one, rows in another
// order. A part is a `TensorInfo` of its own that points into the file, so that nothing is copied.

import type { ModelConfig } from "../../model/config.ts";
import { packedTypes } from "../packed.ts";
import type { TensorInfo } from "../safetensors.ts";

/** Of AWQ and GPTQ: numbers of several rows share words, so rows cannot be told apart by their place. */
const isPacked = ({ dtype }: TensorInfo): boolean => Object.values<string>(packedTypes).includes(dtype);

/** The tensor under another name, where a part of its name (between dots) has one in the plan. */
export function renamed(tensor: TensorInfo, names: Readonly<Record<string, string>>): TensorInfo {
  const name = tensor.name.split(".").map((part) => names[part] ?? part).join(".");
  return { ...tensor, name };
}

/**
 * The parts of a matrix whose rows are those of several, or of a bias. `parts` are the plan's names, in place of
 * `fused`, and their rows.
 */
export function divided(
  tensor: TensorInfo,
  fused: string,
  parts: readonly (readonly [name: string, rows: number])[],
): TensorInfo[] {
  const [rows, ...rest] = tensor.shape, all = parts.reduce((sum, [, rows]) => sum + rows, 0);
  // A tensor of another shape is left whole: the plan then finds that its parts are missing.
  if (rows !== all || isPacked(tensor)) return [tensor];
  let first = 0;
  return parts.map(([name, rows]) => {
    const offset = tensor.offset + first / all * tensor.bytes;
    first += rows;
    const bytes = rows / all * tensor.bytes;
    return { ...tensor, name: tensor.name.replace(fused, name), shape: [rows, ...rest], offset, bytes };
  });
}

/** q, k and v that are stored as one, "qkv_proj", and gate and up, "gate_up_proj" (Phi-3). */
export function unfused(
  tensor: TensorInfo,
  { numHeads, numKvHeads, headDim, intermediateSize }: ModelConfig,
): TensorInfo[] {
  const kv = numKvHeads * headDim;
  if (tensor.name.includes(".qkv_proj.")) {
    return divided(tensor, "qkv_proj", [["q_proj", numHeads * headDim], ["k_proj", kv], ["v_proj", kv]]);
  }
  const gateUp = [["gate_proj", intermediateSize], ["up_proj", intermediateSize]] as const;
  return tensor.name.includes(".gate_up_proj.") ? divided(tensor, "gate_up_proj", gateUp) : [tensor];
}

/**
 * Where a head's numbers go so that (i, i + headDim / 2) turn together, when only the first `rotaryDim` turn, as pairs
 * (i, i + rotaryDim / 2). Scores do not see in which order a head's numbers stand.
 */
export function rotaryOrder(headDim: number, rotaryDim: number): number[] {
  const turning = rotaryDim / 2, half = headDim / 2;
  return Array.from({ length: headDim }, (_, i) => {
    if (i < turning || i >= half + turning) return i;
    return i < rotaryDim ? half + i - turning : i - turning;
  });
}

/** What q and k come from, with rows in that order, where only a part of a head turns. */
export function turned(tensor: TensorInfo, { headDim, rotaryDim }: ModelConfig): TensorInfo {
  const turns = rotaryDim < headDim && /\.[qk]_(?:proj|norm)\./.test(tensor.name);
  return turns && !isPacked(tensor) ? { ...tensor, rowOrder: rotaryOrder(headDim, rotaryDim) } : tensor;
}

/** The text part of a model that also sees, under the names of a model that only reads. */
export function textPart(tensor: TensorInfo): TensorInfo[] {
  if (!tensor.name.includes("language_model.")) return /vision|projector/.test(tensor.name) ? [] : [tensor];
  const name = tensor.name.replace(/^(?:model\.)?language_model\.(?:model\.)?/, "model.");
  return [{ ...tensor, name: name.replace("model.lm_head.", "lm_head.") }];
}
