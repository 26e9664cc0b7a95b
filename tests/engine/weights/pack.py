"""Writes a tiny Llama whose layers are packed in four bits as AutoGPTQ and AutoAWQ pack them, and the weights that this
means, in float32.

usage: pack.py METHOD GROUP SYMMETRIC FOLDER     (METHOD: gptq or awq; SYMMETRIC: 0 or 1)

The packing follows the libraries' own `pack` (AutoGPTQ 0.7, auto_gptq/nn_modules/qlinear/qlinear_exllama.py; AutoAWQ 0.2,
awq/modules/linear/gemm.py): number = round((weight + scale · zero) / scale), eight of them to a word.
"""
import json, os, struct, sys

import numpy as np

method, group, symmetric, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1", sys.argv[4]
random = np.random.default_rng(5)
hidden, inner, heads, vocab = 64, 128, 4, 32
config = {
    "architectures": ["LlamaForCausalLM"], "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": 2,
    "num_attention_heads": heads, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": vocab,
    "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "torch_dtype": "float16",
}
plain, packed = {}, {}


def both(name, values):
    plain[name] = values.astype(np.float32)
    packed[name] = values.astype(np.float16)


def pack_columns(numbers, order):
    """Eight columns to a word."""
    words = np.zeros((numbers.shape[0], numbers.shape[1] // 8), np.uint32)
    for i, place in enumerate(order):
        words |= numbers[:, place::8].astype(np.uint32) << np.uint32(4 * i)
    return words.view(np.int32)


def layer(name, outputs, inputs):
    weight = random.normal(0, 0.1, (inputs, outputs))
    size = inputs if group == -1 else group
    groups = weight.reshape(inputs // size, size, outputs)
    if symmetric:
        scales = (np.abs(groups).max(1) / 7).astype(np.float16)
        zeros = np.full(scales.shape, 8)
    else:
        low, high = np.minimum(groups.min(1), 0), np.maximum(groups.max(1), 0)
        scales = ((high - low) / 15).astype(np.float16)
        zeros = np.clip(np.round(-low / scales), 1, 15).astype(int)
    wide = lambda values: np.repeat(values, size, 0)
    numbers = np.clip(np.round(weight / wide(scales).astype(np.float32) + wide(zeros)), 0, 15).astype(int)
    meant = wide(scales).astype(np.float32) * (numbers - wide(zeros)).astype(np.float32)
    plain[f"{name}.weight"] = np.ascontiguousarray(meant.T)
    packed[f"{name}.scales"] = scales
    if method == "gptq":
        packed[f"{name}.qweight"] = np.ascontiguousarray(pack_columns(numbers.T, range(8)).T)
        packed[f"{name}.qzeros"] = pack_columns(zeros - 1, range(8))
        packed[f"{name}.g_idx"] = (np.arange(inputs) // size).astype(np.int32)
    else:
        order = [0, 2, 4, 6, 1, 3, 5, 7]
        packed[f"{name}.qweight"] = pack_columns(numbers, order)
        packed[f"{name}.qzeros"] = pack_columns(zeros, order)


both("model.embed_tokens.weight", random.normal(0, 1, (vocab, hidden)).astype(np.float16))
both("lm_head.weight", random.normal(0, 0.1, (vocab, hidden)).astype(np.float16))
both("model.norm.weight", np.ones(hidden))
for i in range(2):
    at = f"model.layers.{i}"
    both(f"{at}.input_layernorm.weight", np.ones(hidden))
    both(f"{at}.post_attention_layernorm.weight", np.ones(hidden))
    for part, outputs in (("q", hidden), ("k", 32), ("v", 32), ("o", hidden)):
        layer(f"{at}.self_attn.{part}_proj", outputs, hidden)
    layer(f"{at}.mlp.gate_proj", inner, hidden)
    layer(f"{at}.mlp.up_proj", inner, hidden)
    layer(f"{at}.mlp.down_proj", hidden, inner)


def write(where, tensors, extra):
    names = {"float32": "F32", "float16": "F16", "int32": "I32"}
    header, at = {}, 0
    for name, values in tensors.items():
        header[name] = {"dtype": names[str(values.dtype)], "shape": values.shape, "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
    text = json.dumps(header).encode()
    os.mkdir(f"{folder}/{where}")
    with open(f"{folder}/{where}/model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(values.tobytes() for values in tensors.values()))
    json.dump({**config, **extra}, open(f"{folder}/{where}/config.json", "w"))


quantization = {"bits": 4, "group_size": group, "quant_method": method}
quantization |= {"sym": symmetric, "desc_act": False} if method == "gptq" else {"zero_point": True, "version": "gemm"}
write("plain", plain, {"torch_dtype": "float32"})
write("packed", packed, {"quantization_config": quantization})
