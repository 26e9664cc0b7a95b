"""Structured output by llguidance or xgrammar on the schemas that bench/grammar.ts gives it, measured in the same way:
CPU milliseconds of compiling and of each mask, on one thread; an instance counts as accepted if every token was allowed
and the text may end. Prints one line of JSON. Called by bench/grammar.ts --peers; needs pip's llguidance, xgrammar,
tokenizers and transformers. Each schema runs in a process of its own, which ends when it takes too long."""

import argparse
import json
import os
import select
import signal
import sys
import time

VOCABULARY = 151_936
END = 151_645
CASE_SECONDS = 10  # of CPU time
HELD = 1000  # compiled grammars at once
HELD_SECONDS = 1  # of CPU time for each of them


class LLGuidance:
    """llguidance with its own defaults."""

    def __init__(self, tokenizer):
        import llguidance
        import llguidance.hf
        import llguidance.numpy

        self.module, self.numpy = llguidance, llguidance.numpy
        self.tokenizer = llguidance.hf.from_tokenizer(tokenizer, n_vocab=VOCABULARY, eos_token=END)
        self.mask = self.numpy.allocate_token_bitmask(1, VOCABULARY)

    def compile(self, schema):
        grammar = self.module.LLMatcher.grammar_from_json_schema(schema)
        matcher = self.module.LLMatcher(self.tokenizer, grammar)
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        return matcher

    def start(self, grammar):
        return grammar.deep_copy()

    def fill(self, matcher):
        self.numpy.fill_next_token_bitmask(matcher, self.mask, 0)

    def accept(self, matcher, token):
        return matcher.consume_token(token)

    def may_end(self, matcher):
        return matcher.is_accepting()


class XGrammar:
    """xgrammar, told to follow the schema and not its stricter defaults."""

    def __init__(self, tokenizer):
        import xgrammar

        self.module = xgrammar
        info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=VOCABULARY, stop_token_ids=[END])
        self.compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
        self.mask = xgrammar.allocate_token_bitmask(1, VOCABULARY)

    def compile(self, schema):
        return self.compiler.compile_json_schema(schema, any_whitespace=True, strict_mode=False)

    def start(self, grammar):
        return self.module.GrammarMatcher(grammar)

    def fill(self, matcher):
        matcher.fill_next_token_bitmask(self.mask)

    def accept(self, matcher, token):
        return matcher.accept_token(token)

    def may_end(self, matcher):
        if matcher.is_terminated():
            return True
        matcher.fill_next_token_bitmask(self.mask)
        return bool(int(self.mask[0, END // 32]) >> (END % 32) & 1)


def times(values):
    values = sorted(values)

    def at(share):
        if not values:
            return None
        place = share * (len(values) - 1)
        low = int(place)
        high = min(low + 1, len(values) - 1)
        return values[low] + (values[high] - values[low]) * (place - low)

    return {"count": len(values), "p50": at(0.5), "p99": at(0.99), "max": at(1)}


def cpu():
    return time.process_time() * 1000


def run_case(engine, tokenizer, path):
    """One schema and its instances, as the lists and counts that main adds up."""
    case = json.load(open(path, encoding="utf-8"))
    schema = json.dumps(case["schema"])
    result = {"masks": [], "wrong": [], "midway": 0}
    before = cpu()
    try:
        grammar = engine.compile(schema)
    except Exception as error:  # each engine has errors of its own
        why = type(error).__name__ + ": " + str(error).strip().split("\n")[0][:60]
        return {**result, "compile": cpu() - before, "refused": why}
    result["compile"] = cpu() - before
    for number, test in enumerate(case["tests"]):
        text = json.dumps(test["data"], ensure_ascii=False)
        try:
            matcher = engine.start(grammar)
            ok = True
            for token in tokenizer.encode(text, add_special_tokens=False):
                start = cpu()
                engine.fill(matcher)
                result["masks"].append(cpu() - start)
                ok = bool(int(engine.mask[0, token // 32]) >> (token % 32) & 1)
                if not ok:
                    break
                if not engine.accept(matcher, token):
                    raise ValueError("the mask and the matcher disagree")
            ok = ok and engine.may_end(matcher)
        except Exception as error:
            print(f"{path} #{number}: {error}", file=sys.stderr)
            result["midway"] += 1
            continue
        if ok != test["valid"]:
            result["wrong"].append((number, test["valid"]))
    return result


def cpu_seconds(process):
    with open(f"/proc/{process}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def in_child(engine, tokenizer, path):
    """run_case in a child, or None where it took too long or died."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        with os.fdopen(write_end, "w") as out:
            json.dump(run_case(engine, tokenizer, path), out)
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as result:
        # Not by RLIMIT_CPU: with it, the kernel's CPU clocks are only as fine as its ticks.
        while not select.select([result], [], [], 0.5)[0]:
            if cpu_seconds(child) > CASE_SECONDS:
                os.kill(child, signal.SIGKILL)
        text = result.read()
    os.waitpid(child, 0)
    try:
        return json.loads(text)
    except ValueError:
        return None


def resident():
    """Megabytes of this process."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", required=True, choices=["llguidance", "xgrammar"])
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--files", required=True)
    options = parser.parse_args()

    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(options.tokenizer)
    engine = LLGuidance(tokenizer) if options.engine == "llguidance" else XGrammar(tokenizer)

    compiling, masks, examples, refusals, quick = [], [], [], {}, []
    compiled = passing = accepted_wrongly = refused_wrongly = midway = 0
    files = open(options.files, encoding="utf-8").read().split("\n")
    for path in files:
        result = in_child(engine, tokenizer, path)
        if result is None:
            why = f"took more than {CASE_SECONDS} s of CPU time"
            refusals[why] = refusals.get(why, 0) + 1
            compiling.append(CASE_SECONDS * 1000)
            continue
        compiling.append(result["compile"])
        if "refused" in result:
            refusals[result["refused"]] = refusals.get(result["refused"], 0) + 1
            continue
        compiled += 1
        if result["compile"] < HELD_SECONDS * 1000:
            quick.append(path)
        masks += result["masks"]
        midway += result["midway"]
        for number, valid in result["wrong"]:
            refused_wrongly += valid
            accepted_wrongly += not valid
            if len(examples) < 40:
                examples.append(f"{path.split('/')[-1]} #{number} wrongly {'refused' if valid else 'accepted'}")
        passing += result["midway"] == 0 and not result["wrong"]
    before = resident()
    held = [engine.compile(json.dumps(json.load(open(path, encoding="utf-8"))["schema"])) for path in quick[:HELD]]
    grown = resident() - before
    print(
        json.dumps(
            {
                "engine": options.engine + " " + __import__("importlib.metadata").metadata.version(options.engine),
                "schemas": len(files),
                "compile_ms": times(compiling),
                "mask_ms": times(masks),
                "compiled": compiled,
                "passing": passing,
                "wrongly_accepted": accepted_wrongly,
                "wrongly_refused": refused_wrongly,
                "failed_midway": midway,
                "held": len(held),
                "held_mb": grown,
                "refusals": refusals,
                "examples": examples,
            }
        )
    )


main()
