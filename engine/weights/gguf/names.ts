// GGUF's tensor names as those of Hugging Face checkpoints, which the weight plan speaks; experts, which GGUF stacks,
// one by one; and the rows of q and k, which files of the architecture "llama" have in another order.

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
};

const stacked: Readonly<Record<string, string>> = {
  ffn_gate_exps: "gate_proj",
  ffn_up_exps: "up_proj",
  ffn_down_exps: "down_proj",
};

/**
 * The tensors under the names of a Hugging Face checkpoint. `headDim` is given where q and k have their rows in the
 * order (0, half, 1, half + 1, …) of each head, in which neighbours turn together.
 */
export function checkpointTensors(tensors: readonly TensorInfo[], headDim: number | null): TensorInfo[] {
  return tensors.flatMap((tensor): TensorInfo[] => {
    const known = outer[tensor.name];
    if (known !== undefined) return [{ ...tensor, name: known }];
    const match = /^blk\.(\d+)\.(\w+)\.(weight|bias)$/.exec(tensor.name);
    if (match === null) return [];
    const [, layer, part, kind] = match as unknown as [string, string, string, string];
    const prefix = `model.layers.${layer}`;
    const name = inLayer[part];
    if (name !== undefined) {
      const rotated = headDim !== null && (part === "attn_q" || part === "attn_k");
      return [{ ...tensor, name: `${prefix}.${name}.${kind}`, ...(rotated ? { interleaved: headDim } : {}) }];
    }
    const projection = stacked[part], [experts, ...shape] = tensor.shape;
    if (projection === undefined || experts === undefined || shape.length !== 2) return [];
    const bytes = tensor.bytes / experts;
    return Array.from({ length: experts }, (_, expert) => ({
      ...tensor,
      name: `${prefix}.mlp.experts.${expert}.${projection}.${kind}`,
      shape,
      offset: tensor.offset + expert * bytes,
      bytes,
    }));
  });
}
