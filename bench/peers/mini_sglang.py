# Times mini-SGLang on random weights of a shape the way `radish bench` and `bench/offline.ts` time radish: prompts to
# their first token, steps of several sequences from a context of 128, and all requests of the offline workload at once.
# `mini_sglang.ts` starts it, with mini-SGLang's sources on PYTHONPATH; the last line printed is one JSON object. What it
# compiles (flashinfer's kernels, two minutes the first time) is done before anything is timed.
import json
import sys
import time
from random import randint, seed

import torch
from minisgl.core import SamplingParams
from minisgl.llm import LLM

task = json.loads(sys.argv[1])
began = time.time()
llm = LLM(
    task["model"],
    max_seq_len_override=4096,
    max_extend_tokens=16384,
    cuda_graph_max_bs=256,
    page_size=256,
    attention_backend="fi",
    use_dummy_weight=True,
)


def prompt(length):
    return [randint(0, 10000) for _ in range(length)]


def greedy(tokens):
    return SamplingParams(temperature=0.0, max_tokens=tokens, ignore_eos=True)


def seconds(prompts, params):
    torch.cuda.synchronize()
    start = time.time()
    llm.generate(prompts, params)
    torch.cuda.synchronize()
    return time.time() - start


def median(values):
    return sorted(values)[len(values) // 2]


llm.generate([prompt(50)], greedy(8))
llm.generate([prompt(600) for _ in range(64)], greedy(8))
load = time.time() - began

measurements = []


def add(what, size, tokens_per_second):
    measurements.append({"what": what, "size": size, "tokens_per_second": tokens_per_second})
    print(what, size, round(tokens_per_second), file=sys.stderr, flush=True)


for size in task["prompts"]:
    add("prefill", size, size / median([seconds([prompt(size)], greedy(1)) for _ in range(7)]))
for size in task["batches"]:
    rates = []
    for _ in range(task["repeat"]):
        # What the prompts and the first token take is subtracted.
        first = seconds([prompt(task["context"]) for _ in range(size)], greedy(1))
        all_ = seconds([prompt(task["context"]) for _ in range(size)], greedy(task["tokens"] + 1))
        rates.append(size * task["tokens"] / (all_ - first))
    add("decode", size, median(rates))
if task["requests"] > 0:
    # The workload of bench/offline.ts, drawn in the same order.
    seed(0)
    least, most = task["minTokens"], task["maxTokens"]
    prompts = [prompt(randint(least, most)) for _ in range(task["requests"])]
    params = [greedy(randint(least, most)) for _ in range(task["requests"])]
    taken = seconds(prompts, params)
    add("offline", task["requests"], sum(each.max_tokens for each in params) / taken)
print(json.dumps({"device": torch.cuda.get_device_name(), "load_seconds": load, "measurements": measurements}))
