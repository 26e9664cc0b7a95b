// GGUF's tensor names as those of Hugging Face checkpoints, which the weight plan speaks; experts, which GGUF stacks,
// one by one; and the rows of q and k, which files of some families have in another order.

import type { ModelConfig } from "../../model/config.ts";
import type { GgufFiles } from "../families/family.ts";
import { turned, unfused } from "../families/tensors.ts";
import type { TensorInfo } from "../safetensors.ts";

const outer: Readonly<Record<string, string>> = {
  "token_embd.weight": "model.embed_tokens.weight",
  "output_norm.weight": "model.norm.weight",
  "output.weight": "lm_head.weight",
};

/** Of a layer; weights and biases. */
const inLayer: Readonly<Record<string, string>> = {
  attn_norm: "input_layernorm",
  attn_q: "self_attn.q_proj",
  attn_k: "self_attn.k_proj",
  attn_v: "self_attn.v_proj",
  attn_output: "self_attn.o_proj",
  attn_q_norm: "self_attn.q_norm",
  attn_k_norm: "self_attn.k_norm",
  ffn_norm: "post_attention_layernorm",
  ffn_gate: "mlp.gate_proj",
  ffn_up: "mlp.up_proj",
  ffn_down: "mlp.down_proj",
  ffn_gate_inp: "mlp.gate",
  attn_sinks: "self_attn.sinks",
};

const stacked: Readonly<Record<string, string>> = {
  ffn_gate_exps: "gate_proj",
  ffn_up_exps: "up_proj",
  ffn_down_exps: "down_proj",
};

/** The tensors of a family's files under the names of the weight plan. */
export function checkpointTensors(
  tensors: readonly TensorInfo[],
  { interleaved, parts }: GgufFiles,
  config: ModelConfig,
): TensorInfo[] {
  const named = tensors.flatMap((tensor): TensorInfo[] => {
    const known = outer[tensor.name];
    if (known !== undefined) return [{ ...tensor, name: known }];
    const match = /^blk\.(\d+)\.(\w+)\.(weight|bias)$/.exec(tensor.name);
    if (match === null) return [];
    const [, layer, part, kind] = match as unknown as [string, string, string, string];
    const prefix = `model.layers.${layer}`;
    const name = parts?.[part] ?? inLayer[part];
    if (name !== undefined) {
      const rotated = interleaved && (part === "attn_q" || part === "attn_k");
      const order = rotated ? { rowOrder: neighbours(config.headDim) } : {};
      const whole = part === "attn_sinks" ? name : `${name}.${kind}`;
      return [{ ...tensor, name: `${prefix}.${whole}`, ...order }];
    }
    const projection = stacked[part], [experts, ...shape] = tensor.shape;
    if (projection === undefined || experts === undefined || shape.length === 0) return [];
    const bytes = tensor.bytes / experts;
    return Array.from({ length: experts }, (_, expert) => ({
      ...tensor,
      name: `${prefix}.mlp.experts.${expert}.${projection}.${kind}`,
      shape,
      offset: tensor.offset + expert * bytes,
      bytes,
    }));
  });
  return named.flatMap((tensor) => unfused(tensor, config)).map((tensor) => turned(tensor, config));
}

/** Where rows (0, half, 1, half + 1, …) of a head belong. */
function neighbours(headDim: number): number[] {
  return Array.from({ length: headDim }, (_, at) => (at & 1) * headDim / 2 + (at >> 1));
}
