"""Writes a model's folder in the Hugging Face layout as GGUF, with the gguf package.

usage: write_model.py FOLDER OUT.gguf TYPE [again]
TYPE: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K, or Q4_K_M: as llama.cpp mixes Q4_K and Q6_K

With "again" the quantised values are expanded by the package itself and stored as float32.
"""

import json
import sys

import numpy as np
from gguf import GGUFWriter
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize, quantize

from k_quants import quantize_k

folder, out, type_name = sys.argv[1:4]
expanded = sys.argv[4:] == ["again"]
config = json.load(open(f"{folder}/config.json"))
names = {"LlamaForCausalLM": "llama", "MistralForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2",
         "Qwen3ForCausalLM": "qwen3", "Qwen3MoeForCausalLM": "qwen3moe", "SmolLM3ForCausalLM": "smollm3",
         "Phi3ForCausalLM": "phi3", "GraniteForCausalLM": "granite", "Olmo2ForCausalLM": "olmo2",
         "Gemma2ForCausalLM": "gemma2", "Gemma3ForCausalLM": "gemma3", "GptOssForCausalLM": "gpt-oss"}
arch = names[config["architectures"][0]]
heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
head_dim = config.get("head_dim") or config["hidden_size"] // heads
rope = config.get("rope_parameters") or {}
local_rope = rope.get("sliding_attention")
rope = rope.get("full_attention", rope)


def tensors():
    """Name and float32 values of every tensor of a safetensors file."""
    raw = open(f"{folder}/model.safetensors", "rb").read()
    length = int.from_bytes(raw[:8], "little")
    for name, entry in json.loads(raw[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        data = raw[begin:end]
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(data, {"F16": np.float16, "F32": np.float32}[entry["dtype"]]).astype(np.float32)
        yield name, values.reshape(entry["shape"])


def interleave(values, count):
    """The row order of the architecture llama: the halves of each head take turns."""
    rest = values.shape[1:]
    return values.reshape(count, 2, head_dim // 2, *rest).swapaxes(1, 2).reshape(values.shape)


writer = GGUFWriter(out, arch)
writer.add_block_count(config["num_hidden_layers"])
writer.add_context_length(config["max_position_embeddings"])
writer.add_embedding_length(config["hidden_size"])
writer.add_feed_forward_length(config["intermediate_size"])
writer.add_head_count(heads)
writer.add_head_count_kv(kv_heads)
writer.add_key_length(head_dim)
writer.add_value_length(head_dim)
writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
writer.add_rope_freq_base(rope.get("rope_theta", config.get("rope_theta", 10000.0)))
if rope.get("rope_type") == "yarn":
    from gguf import RopeScalingType
    writer.add_rope_scaling_type(RopeScalingType.YARN)
    writer.add_rope_scaling_factor(rope["factor"])
    writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
if rope.get("rope_type") == "llama3":
    # As convert_hf_to_gguf's rule: the divisor of each pair's frequency.
    base, factors = rope["rope_theta"], []
    low, high, old = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
    for frequency in 1.0 / base ** (np.arange(0, head_dim, 2) / head_dim):
        wavelength = 2 * np.pi / frequency
        if wavelength < old / high:
            factors.append(1.0)
        elif wavelength > old / low:
            factors.append(rope["factor"])
        else:
            smooth = (old / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    writer.add_tensor("rope_freqs.weight", np.array(factors, np.float32))
if local_rope:
    writer.add_float32(f"{arch}.rope.freq_base_swa", local_rope["rope_theta"])
if config.get("sliding_window"):
    writer.add_sliding_window(config["sliding_window"])
if arch == "gemma3":
    # Real files say nothing, because the pattern is always 6; this one's is 3.
    writer.add_uint32("gemma3.attention.sliding_window_pattern", 3)
if arch == "granite":
    writer.add_embedding_scale(config["embedding_multiplier"])
    writer.add_residual_scale(config["residual_multiplier"])
    writer.add_attention_scale(config["attention_multiplier"])
    writer.add_logit_scale(config["logits_scaling"])
if arch == "gemma2":
    writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
    writer.add_final_logit_softcapping(config["final_logit_softcapping"])
if arch == "gpt-oss":
    writer.add_expert_count(config["num_local_experts"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    writer.add_expert_feed_forward_length(config["intermediate_size"])
if arch == "qwen3moe":
    writer.add_expert_count(config.get("num_experts") or config["num_local_experts"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
outer = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
         "lm_head.weight": "output.weight"}
inner = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
         "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate": "ffn_gate_inp"}
if arch in ("olmo2", "gemma2", "gemma3"):
    inner |= {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
              "post_feedforward_layernorm": "post_ffw_norm"}
if arch == "phi3":
    inner |= {"self_attn.qkv_proj": "attn_qkv", "mlp.gate_up_proj": "ffn_up"}
if arch == "gpt-oss":
    inner |= {"post_attention_layernorm": "post_attention_norm", "mlp.router": "ffn_gate_inp"}
experts = {}


def type_of(name):
    """The type of a tensor of GGUF's name; in a mixture, v and down of every other layer, and the head, are finer."""
    if type_name != "Q4_K_M":
        return type_name
    finer = name.startswith(("token_embd", "output.")) or (
        ("attn_v" in name or "ffn_down" in name) and int(name.split(".")[1]) % 2 == 0)
    return "Q6_K" if finer else "Q4_K"


def blocks(values, name):
    return quantize_k(values, name) if name.endswith("_K") else quantize(values, GGMLQuantizationType[name])


# What llama.cpp takes where rows are not whole blocks of 256.
otherwise = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}


def add(name, values):
    name_of_type = type_of(name)
    if values.shape[-1] % 256 != 0:
        name_of_type = otherwise.get(name_of_type, name_of_type)
    kind = GGMLQuantizationType[name_of_type]
    fits = values.ndim > 1 and values.shape[-1] % 32 == 0 and not name.endswith("gate_inp.weight")
    if not fits or kind == GGMLQuantizationType.F32:
        return writer.add_tensor(name, values.astype(np.float32))
    if expanded:
        return writer.add_tensor(name, dequantize(blocks(values, name_of_type), kind).astype(np.float32))
    if kind == GGMLQuantizationType.F16:
        return writer.add_tensor(name, values.astype(np.float16))
    writer.add_tensor(name, blocks(values, name_of_type), raw_dtype=kind)


for name, values in tensors():
    if name in outer:
        add(outer[name], values + 1 if arch.startswith("gemma") and "norm" in name else values)
        continue
    _, _, layer, *rest, suffix = name.split(".")
    if arch == "gpt-oss" and suffix == "sinks":
        add(f"blk.{layer}.attn_sinks.weight", values)
        continue
    if arch == "gpt-oss" and "experts" in rest:
        # Stored as [experts, inputs, outputs], gate and up column by column.
        kind = "bias" if suffix.endswith("_bias") else "weight"
        by_output = values if kind == "bias" else values.swapaxes(1, 2)
        if suffix.startswith("gate_up"):
            add(f"blk.{layer}.ffn_gate_exps.{kind}", by_output[:, ::2].copy())
            add(f"blk.{layer}.ffn_up_exps.{kind}", by_output[:, 1::2].copy())
        else:
            add(f"blk.{layer}.ffn_down_exps.{kind}", by_output.copy())
        continue
    if arch.startswith("gemma") and name.endswith("norm.weight"):
        values = values + 1
    part = ".".join(rest)
    if "experts" in rest:
        _, _, expert, projection = rest
        key = f"blk.{layer}.ffn_{projection.removesuffix('_proj')}_exps.weight"
        experts.setdefault(key, {})[int(expert)] = values
        continue
    if arch in ("llama", "smollm3", "granite") and part in ("self_attn.q_proj", "self_attn.k_proj"):
        values = interleave(values, heads if "q_proj" in part else kv_heads)
    add(f"blk.{layer}.{inner[part]}.{suffix}", values)
for key, parts in experts.items():
    add(key, np.stack([parts[i] for i in range(len(parts))]))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
