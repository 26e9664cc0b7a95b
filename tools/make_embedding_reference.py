"""Writes tests/data/embedding: a tiny random model of the shape of Qwen3-Embedding, and what transformers make of it.

The tokenizer is the embedded model's, with "yes" in the place of its last token and an end of text behind every text, as Qwen3-Embedding's
has. Tensors have the names of `Qwen3Model`, without a prefix, as in published embedding models. References: of texts,
their ids and normalised states of the last token; of token ids, the mean of all states; of (query, document) pairs, what
the model card of Qwen3-Reranker calls their score: the share of "yes" beside "no" behind its prompt.

Needs PyPI's torch and transformers 5.17: python3 tools/make_embedding_reference.py
"""
import copy, json, os, random, shutil
import torch
import torch.nn.functional as F
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

root = os.path.join(os.path.dirname(__file__), "..")
out = os.path.join(root, "tests/data/embedding")
shutil.rmtree(out, ignore_errors=True)
os.makedirs(out + "/1_Pooling")
torch.manual_seed(7)

tokenizer = json.load(open(root + "/models/pocket/tokenizer.json"))
end = next(t["id"] for t in tokenizer["added_tokens"] if t["content"] == "<|endoftext|>")
vocab, merges = tokenizer["model"]["vocab"], tokenizer["model"]["merges"]
last = merges.pop()  # Its token becomes "yes": ids stay dense.
vocab["yes"] = vocab.pop("".join(last) if isinstance(last, list) else last.replace(" ", ""))
merges.append(["y", "es"] if isinstance(last, list) else "y es")
tokenizer["post_processor"] = {
    "type": "TemplateProcessing",
    "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [end], "tokens": ["<|endoftext|>"]}},
}
json.dump(tokenizer, open(out + "/tokenizer.json", "w"), ensure_ascii=False)
for name in ("tokenizer_config.json", "chat_template.jinja"):
    shutil.copy(root + "/models/pocket/" + name, out)
modules = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
json.dump([{"idx": i, "name": str(i), "path": path, "type": "sentence_transformers.models." + kind}
           for i, (kind, path) in enumerate(modules)], open(out + "/modules.json", "w"))
json.dump({"word_embedding_dimension": 64, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": False,
           "pooling_mode_lasttoken": True, "include_prompt": True}, open(out + "/1_Pooling/config.json", "w"))

config = Qwen3Config(vocab_size=2048, hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4,
                     num_key_value_heads=2, head_dim=32, tie_word_embeddings=True, rms_norm_eps=1e-6,
                     max_position_embeddings=512, bos_token_id=end, eos_token_id=end, pad_token_id=end,
                     rope_parameters={"rope_theta": 1000000.0, "rope_type": "default"})
model = Qwen3ForCausalLM(config)
with torch.no_grad():
    for name, p in model.named_parameters():
        if p.dim() == 1: p.copy_(1 + 0.2 * torch.randn_like(p))
        else: p.copy_(torch.randn_like(p) * (0.25 if "embed" in name else 1.4 / p.shape[-1] ** 0.5))
        p.copy_(p.bfloat16().float())
stored = copy.deepcopy(model.model).to(torch.bfloat16)  # A copy, for rope frequencies are float32 in what is computed.
stored.save_pretrained(out)
saved = json.load(open(out + "/config.json"))
saved["architectures"] = ["Qwen3ForCausalLM"]  # What the published models say.
json.dump(saved, open(out + "/config.json", "w"), indent=2)
model = model.eval()
model.config._attn_implementation = "eager"
tok = AutoTokenizer.from_pretrained(out)

@torch.no_grad()
def states(ids): return model.model(torch.tensor([ids]), use_cache=False).last_hidden_state[0]

texts = ["Hello!", "What is the capital of Japan?", "Zürich 7 <|im_end|> 東京", "The fox went to a river. " * 12, ""]
texts = [{"text": text, "ids": tok(text)["input_ids"]} for text in texts]
for each in texts: each["embedding"] = F.normalize(states(each["ids"])[-1], dim=0).tolist()
rnd = random.Random(3)
means = [{"ids": [rnd.randrange(2000) for _ in range(n)]} for n in (1, 5, 150)]
for each in means: each["mean"] = F.normalize(states(each["ids"]).mean(0), dim=0).tolist()

instruction = "Given a web search query, retrieve relevant passages that answer the query"
prefix = ("<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. "
          'Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n')
suffix = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
def encode(text): return tok.encode(text, add_special_tokens=False)
yes, no = encode("yes"), encode("no")
assert len(yes) == len(no) == 1
pairs = [{"query": q, "document": d} for q in ("What is the capital of Japan?", "birds") for d in (
    "The capital of Japan is Tokyo.", "Two birds saw an old house near the river.", "no")]
for each in pairs:
    text = f"<Instruct>: {instruction}\n<Query>: {each['query']}\n<Document>: {each['document']}"
    each["ids"] = encode(prefix) + encode(text) + encode(suffix)
    with torch.no_grad(): logits = model(torch.tensor([each["ids"]]), use_cache=False).logits[0, -1]
    each["score"] = torch.softmax(torch.stack([logits[no[0]], logits[yes[0]]]), 0)[1].item()
json.dump({"texts": texts, "means": means, "pairs": pairs}, open(out + "/reference.json", "w"), ensure_ascii=False)
print([p["score"] for p in pairs], [len(t["ids"]) for t in texts], sorted(os.listdir(out)))
