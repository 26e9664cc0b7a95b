"""Writes reference.json: transformers' prompts and greedy tokens for the checkpoint that checkpoint.py makes, all in
float32, not stopped at the end of a text. Needs PyPI's torch and transformers.

usage: python3 reference.py FOLDER > reference.json
"""
import json, sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

prompts = ["What is the capital of France?", "Write a short poem about the sea.", "Explain photosynthesis to a child.",
           "List three uses of ½ cup of vinegar.", "Sum up: cats sleep 13 to 16 hours a day, dogs 12 to 14.",
           "def fibonacci(n):", "Übersetze ins Deutsche: Good morning, how are you?", "What is 17 + 25?",
           "Tell me a story about a dragon who cannot fly.", "Why is the sky blue? Answer in one sentence."]
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32, attn_implementation="eager").eval()
rows = []
for prompt in prompts:
    ids = tokenizer.apply_chat_template([{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False)
    ids = tokenizer(ids, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        whole = model.generate(torch.tensor([ids]), max_new_tokens=100, min_new_tokens=100, do_sample=False,
                               eos_token_id=None, pad_token_id=0)
    rows.append({"prompt": prompt, "ids": ids, "tokens": whole[0, len(ids):].tolist()})
    print(prompt, file=sys.stderr, flush=True)
print("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]")
