// Options that every command with a model shares, and how they become `EngineOptions`.

import { dtypeOptions } from "../../engine/model/open.ts";
import type { EngineOptions } from "../../engine/options.ts";
import type { OptionSpec, OptionValues } from "./command.ts";

/** Declared once, listed by `generate`, `serve`, `chat` and `bench`. */
export const engineOptionSpecs: readonly OptionSpec[] = [
  {
    name: "model",
    short: "m",
    kind: "text",
    value: "DIR|ID",
    env: "RADISH_MODEL",
    help: "a directory, or a Hub id such as Qwen/Qwen3-0.6B",
    fallback: "the embedded toy model",
  },
  {
    name: "source",
    kind: "text",
    choices: ["huggingface", "modelscope"],
    env: "RADISH_SOURCE",
    help: "hub to pull a missing model from",
    fallback: "huggingface",
  },
  {
    name: "device",
    kind: "text",
    choices: ["auto", "cuda", "webgpu", "cpu"],
    env: "RADISH_DEVICE",
    help: "where to compute",
    fallback: "auto: CUDA if it works, else another GPU, else the CPU",
  },
  {
    name: "threads",
    kind: "integer",
    value: "N",
    min: 1,
    max: 256,
    env: "RADISH_THREADS",
    help: "CPU threads of each rank",
    fallback: "all cores, shared by the ranks",
  },
  {
    name: "dtype",
    kind: "text",
    choices: dtypeOptions,
    help: "type of the weights on the device; int8 quantises them: half the memory, faster on a CPU",
    fallback: "as stored",
    env: "RADISH_DTYPE",
  },
  {
    name: "context-length",
    kind: "integer",
    value: "TOKENS",
    min: 1,
    max: 1 << 24,
    env: "RADISH_CONTEXT_LENGTH",
    help: "longest prompt plus answer",
    fallback: "the model's",
  },
  {
    name: "memory",
    kind: "number",
    value: "GIB",
    min: 0.001,
    max: 65536,
    env: "RADISH_MEMORY",
    help: "device memory for weights and cache, in GiB, of each rank",
    fallback: "what is free",
  },
  {
    name: "num-pages",
    kind: "integer",
    value: "N",
    min: 1,
    max: 1 << 26,
    help: "pages of the key/value cache, instead of --memory",
  },
  {
    name: "page-size",
    kind: "integer",
    value: "TOKENS",
    min: 1,
    max: 256,
    help: "tokens per page, a power of two",
    fallback: "16",
  },
  {
    name: "max-running-requests",
    kind: "integer",
    value: "N",
    min: 1,
    max: 4096,
    env: "RADISH_MAX_RUNNING_REQUESTS",
    help: "requests computed at once",
    fallback: "by device",
  },
  {
    name: "max-queued-requests",
    kind: "integer",
    value: "N",
    min: 0,
    max: 1 << 20,
    env: "RADISH_MAX_QUEUED_REQUESTS",
    help: "requests that may wait",
    fallback: "1024",
  },
  {
    name: "max-prefill-tokens",
    kind: "integer",
    value: "N",
    min: 1,
    max: 1 << 20,
    help: "prompt tokens per step",
    fallback: "by device",
  },
  {
    name: "cache",
    kind: "text",
    choices: ["radix", "naive"],
    help: "share cached prefixes, or never",
    fallback: "radix",
  },
  { name: "no-overlap", kind: "flag", help: "do not plan a step while one runs (for comparison)" },
  { name: "tp", kind: "integer", value: "N", min: 1, max: 64, help: "tensor-parallel ranks", fallback: "1" },
  {
    name: "tp-reduce",
    kind: "text",
    choices: ["float32", "float16"],
    help: "what partial sums travel as between ranks",
    fallback: "float32",
  },
  {
    name: "gpus",
    kind: "list",
    value: "ADDRESS",
    help: "GPUs for the ranks, by bus address (Linux; see doctor)",
    fallback: "alike ones",
  },
  { name: "dummy-weights", kind: "flag", help: "random weights; needs only config.json" },
  { name: "skip-tokenizer-init", kind: "flag", help: "token ids in, token ids out" },
];

/** Options every command has. */
export const commonOptionSpecs: readonly OptionSpec[] = [
  { name: "quiet", short: "q", kind: "flag", help: "no progress on standard error" },
  { name: "verbose", kind: "flag", help: "stack traces with errors" },
  { name: "help", short: "h", kind: "flag", help: "this text" },
];

/** Engine options from parsed values; the model itself is resolved elsewhere. */
export function engineOptions(values: OptionValues, modelDir: string): EngineOptions {
  const memory = values.number("memory");
  return {
    modelDir,
    device: (values.text("device") ?? "auto") as EngineOptions["device"],
    threads: values.number("threads") ?? null,
    dtype: (values.text("dtype") ?? "auto") as EngineOptions["dtype"],
    contextLength: values.number("context-length") ?? null,
    memoryBytes: memory === undefined ? null : Math.floor(memory * 2 ** 30),
    numPages: values.number("num-pages") ?? null,
    pageSize: values.number("page-size") ?? 16,
    maxRunningRequests: values.number("max-running-requests") ?? null,
    maxQueuedRequests: values.number("max-queued-requests") ?? 1024,
    maxPrefillTokens: values.number("max-prefill-tokens") ?? null,
    cache: (values.text("cache") ?? "radix") as EngineOptions["cache"],
    overlap: !values.flag("no-overlap"),
    tp: values.number("tp") ?? 1,
    reduceType: (values.text("tp-reduce") ?? "float32") as EngineOptions["reduceType"],
    gpus: values.list("gpus").flatMap((list) => list.split(",")),
    dummyWeights: values.flag("dummy-weights"),
    skipTokenizer: values.flag("skip-tokenizer-init"),
    ...testHook(Deno.env.get("RADISH_TEST_DIE_AT_PLAN")),
  };
}

/** "RANK:PLAN" makes that rank's worker die when it gets its n-th plan, so that tests can see what follows. */
function testHook(text: string | undefined): Pick<EngineOptions, "dieAtPlan"> {
  const match = /^(\d+):(\d+)$/.exec(text ?? "");
  return match ? { dieAtPlan: { rank: Number(match[1]), plan: Number(match[2]) } } : {};
}
