"""Writes four small tokenizers and the ids that the Rust library gives for difficult texts, as data for the tests.

usage: python3 make.py QWEN3_TOKENIZER_DIR     (pip install tokenizers==0.23.3)

llama2: sentencepiece-style BPE with byte fallback, spaces replaced by a normalizer, beginning-of-text added
metaspace: the same with a Metaspace pre-tokenizer and no beginning-of-text (add_bos_token false)
llama3: byte-level BPE with whole words looked up before merging, digits in groups of three
digits: byte-level BPE behind a Digits pre-tokenizer, as SmolLM2, StarCoder and Command-R have it
"""
import json, os, random, sys
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers, Regex, AddedToken

here = os.path.dirname(os.path.abspath(__file__))
texts = json.load(open(os.path.join(here, "texts.json"), encoding="utf-8"))
corpus = ["The quick brown fox jumps over the lazy dog. 12345 67890 They're here, aren't they? " * 3,
          "def encode(text):\n    return [ord(c) for c in text]\n\tif x == 10:\n\t\tprint('done')\n" * 3,
          "Les élèves étudient à l'école. Die Straße ist schön. Привет, мир! こんにちは世界。 مرحبا بالعالم " * 2] + texts

def sentencepiece(metaspace):
    trainer = trainers.BpeTrainer(vocab_size=700, show_progress=False, special_tokens=["<unk>", "<s>", "</s>"], max_token_length=12)
    t = Tokenizer(models.BPE(unk_token="<unk>"))
    t.normalizer = normalizers.Replace(" ", "▁")
    t.pre_tokenizer = pre_tokenizers.Split(Regex("▁?[^▁]+"), "isolated")
    t.train_from_iterator(corpus[:3], trainer)
    learned = json.loads(t.to_str())["model"]
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2, **{f"<0x{b:02X}>": 3 + b for b in range(256)}}
    for token in sorted(learned["vocab"], key=learned["vocab"].get):
        vocab.setdefault(token, len(vocab))
    out = Tokenizer(models.BPE(vocab=vocab, merges=[tuple(m) for m in learned["merges"]], unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if metaspace:
        out.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    else:
        out.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    out.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    out.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    out.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in ("<unk>", "<s>", "</s>")])
    return out

def llama3():
    regex = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    t = Tokenizer(models.BPE(ignore_merges=True))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(regex), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(corpus[:3], trainers.BpeTrainer(vocab_size=600, show_progress=False, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    t.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"])
    bos = t.token_to_id("<|begin_of_text|>")
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|> $B", special_tokens=[("<|begin_of_text|>", bos)])])
    return t

def digits():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=600, show_progress=False, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"]))
    return t

def write(name, tokenizer, config):
    folder = os.path.join(here, name); os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as f: f.write(tokenizer.to_str(pretty=False))
    with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as f: json.dump(config, f, indent=1)

write("llama2", sentencepiece(False), {"add_bos_token": True, "add_eos_token": False, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "legacy": True})
write("metaspace", sentencepiece(True), {"add_bos_token": False, "bos_token": {"content": "<s>", "lstrip": False}, "eos_token": "</s>"})
write("llama3", llama3(), {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"})

write("digits", digits(), {"eos_token": "<|im_end|>"})

tokenizers = {name: Tokenizer.from_file(os.path.join(here, name, "tokenizer.json")) for name in ("llama2", "metaspace", "llama3", "digits")}
tokenizers["pocket"] = Tokenizer.from_file(os.path.join(here, "../../../models/pocket/tokenizer.json"))
tokenizers["qwen3"] = Tokenizer.from_file(os.path.join(sys.argv[1], "tokenizer.json"))
result = {}
for name, t in tokenizers.items():
    rows = []
    for text in texts:
        ids = t.encode(text, add_special_tokens=False).ids
        framed = t.encode(text, add_special_tokens=True).ids
        assert framed[len(framed) - len(ids):] == ids
        decoded, skipped = (t.decode(ids, skip_special_tokens=skip) for skip in (False, True))
        rows.append({"ids": ids, "decoded": decoded} | ({} if skipped == decoded else {"skipped": skipped}))
    result[name] = rows
with open(os.path.join(here, "expected.json"), "w", encoding="utf-8") as f:
    f.write("{\n" + ",\n".join(json.dumps(n) + ": [\n" + ",\n".join(json.dumps(r, ensure_ascii=False, separators=(",", ":")) for r in rows) + "\n]" for n, rows in result.items()) + "\n}\n")
print({n: sum(len(r["ids"]) for r in rows) for n, rows in result.items()})
