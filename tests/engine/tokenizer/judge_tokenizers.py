"""The Rust library's word on tokenizers, through PyPI's tokenizers: for each configuration of a normalizer or a
pre-tokenizer what it makes of each text, and for each kind of tokenizer a small trained one with the ids it gives."""
import json, sys

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

question = json.load(sys.stdin)
texts = question["texts"]


def bare(**parts):
    return json.dumps({"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
                       "pre_tokenizer": None, "post_processor": None, "decoder": None,
                       "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, **parts})


def trained(pre_tokenizer, normalizer):
    tokenizer = Tokenizer.from_str(bare(pre_tokenizer=pre_tokenizer, normalizer=normalizer))
    tokenizer.model = models.BPE()
    trainer = trainers.BpeTrainer(vocab_size=800, show_progress=False, special_tokens=["<|endoftext|>"],
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(question["corpus"], trainer)
    whole = json.loads(tokenizer.to_str())
    whole["decoder"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    return {"json": whole, "ids": [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]}


answer = {"normalizers": [], "pre_tokenizers": [], "kinds": {}}
for config in question["normalizers"]:
    step = Tokenizer.from_str(bare(normalizer=config)).normalizer
    answer["normalizers"].append([step.normalize_str(text) for text in texts])
for config in question["pre_tokenizers"]:
    step = Tokenizer.from_str(bare(pre_tokenizer=config)).pre_tokenizer
    answer["pre_tokenizers"].append([[piece for piece, _ in step.pre_tokenize_str(text) if piece] for text in texts])
for name, (pre_tokenizer, normalizer) in question["kinds"].items():
    answer["kinds"][name] = trained(pre_tokenizer, normalizer)
json.dump(answer, sys.stdout)
