"""Writes a tokenizer.json as the metadata of a GGUF file without tensors, with the gguf package, as llama.cpp's
converter does for byte-level BPE.

usage: write_tokenizer.py FOLDER OUT.gguf PRE_TOKENIZER
"""
import json
import sys

from gguf import GGUFWriter, SpecialVocab, TokenType

folder, out, pre = sys.argv[1:]
tokenizer = json.load(open(f"{folder}/tokenizer.json", encoding="utf-8"))
added = {token["id"]: token for token in tokenizer["added_tokens"]}
texts = {id: text for text, id in tokenizer["model"]["vocab"].items()} | {i: t["content"] for i, t in added.items()}
tokens, types = [], []
for id in range(max(texts) + 1):
    if id in added:
        kind = TokenType.CONTROL if added[id]["special"] else TokenType.USER_DEFINED
    else:
        kind = TokenType.NORMAL if id in texts else TokenType.UNUSED
    tokens.append(texts.get(id, f"[PAD{id}]"))
    types.append(kind)
writer = GGUFWriter(out, "qwen3")
writer.add_tokenizer_model("gpt2")
writer.add_tokenizer_pre(pre)
writer.add_token_list(tokens)
writer.add_token_types(types)
SpecialVocab(folder, load_merges=True).add_to_gguf(writer)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
