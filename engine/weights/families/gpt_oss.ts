// gpt-oss (model card, arXiv 2508.10925): attention sinks, every other layer local, experts with biases and a clamped
// gate. An expert's gate and up are interleaved, row by row. Its matrices are stored as [inputs, outputs], or as
// [outputs, blocks of 32 inputs] of four-bit floats (MXFP4) with an exponent each.

import type { ModelConfig } from "../../model/config.ts";
import { field, optional } from "../../model/json.ts";
import type { TensorInfo } from "../safetensors.ts";
import type { TensorIndex } from "../tensor_index.ts";
import { type Family, flagsOf, plain } from "./family.ts";

/** The card's α. */
const alpha = 1.702;

export const gptOss: Family = {
  ...plain,
  architectures: ["GptOssForCausalLM"],
  modelTypes: ["gpt_oss"],
  gguf: {
    name: "gpt-oss",
    parts: { post_attention_norm: "post_attention_layernorm" },
    yarnTruncates: false,
  },
  defaults: {
    num_local_experts: 128,
    num_experts_per_tok: 4,
    sliding_window: 128,
    sliding_window_pattern: 2,
    rope_theta: 150_000,
    attention_bias: true,
    norm_topk_prob: true,
  },
  qkvBias: "attention_bias",
  outputBias: "attention_bias",
  experts: true,
  window: "always",
  flags: flagsOf({
    swiglu_limit: optional(field.number(1e-3, 1e6)),
  }, ({ swiglu_limit: limit = 7 }, { moe, intermediateSize }) => ({
    attentionSinks: true,
    gate: { alpha, beta: 0, limit, plus: 1 },
    moe: { ...moe!, intermediateSize, biases: true },
  })),
  tensors: expertTensors,
};

/** Stacked experts one by one, gate and up apart. */
function expertTensors(tensor: TensorInfo, { moe }: ModelConfig, all: TensorIndex): TensorInfo[] {
  const router = /^(.*\.mlp)\.router\.(weight|bias)$/.exec(tensor.name);
  if (router !== null) return [{ ...tensor, name: `${router[1]}.gate.${router[2]}` }];
  const match = /^(.*\.mlp\.experts)\.(gate_up_proj|down_proj)(_bias|_blocks)?$/.exec(tensor.name);
  const [experts, ...shape] = tensor.shape;
  if (match === null || experts !== moe!.numExperts) return [tensor];
  const [, prefix, matrix, kind] = match;
  const parts = matrix === "gate_up_proj" ? ["gate_proj", "up_proj"] : ["down_proj"];
  const exponents = kind === "_blocks" ? all.get(`${prefix}.${matrix}_scales`) : undefined;
  return Array.from({ length: experts }, (_, expert) =>
    parts.map((part, i): TensorInfo => {
      const of = (stacked: TensorInfo) => {
        const bytes = stacked.bytes / experts;
        return { file: stacked.file, offset: stacked.offset + expert * bytes, bytes };
      };
      const name = `${prefix}.${expert}.${part}.${kind === "_bias" ? "bias" : "weight"}`;
      const rowsOf = (outputs: number) => outputs / parts.length;
      const one = { ...tensor, ...of(tensor), name }, every = { first: i, step: parts.length };
      if (kind === "_bias") return { ...one, shape: [rowsOf(shape[0]!)], every };
      if (kind === undefined) {
        return { ...one, shape: [rowsOf(shape[1]!), shape[0]!], every: { ...every, transposed: true } };
      }
      const dtype = "MXFP4", exponentsOf = exponents && of(exponents);
      return {
        ...{ ...one, dtype, every, shape: [rowsOf(shape[0]!), shape[1]! * 32] },
        ...(exponentsOf === undefined ? {} : { exponents: exponentsOf }),
      };
    })).flat();
}
