// Options that every command with a model shares: which model, and how its engine runs.

import { object } from "@optique/core/constructs";
import { map } from "@optique/core/modifiers";
import type { InferValue } from "@optique/core/parser";
import { defaultEngineOptions as defaults } from "../../engine/options.ts";
import { dtypeOptions } from "../../engine/weights/device_types.ts";
import { asGroup, flag, list, number, oneOf, path, value, whole } from "./option.ts";

/** The hub that models are pulled from. */
export const sourceOption = () =>
  value("--source", oneOf(["huggingface", "modelscope"], "HUB"), "hub: huggingface or modelscope", {
    fallback: "huggingface" as const,
    env: true,
  });

/** Which model, and the fields of `EngineOptions`; null leaves a value to the engine. */
export const engineOptions = (all: boolean) => {
  const { pageSize, maxQueuedRequests, cache, tp, reduceType } = defaults;
  const often = { env: true };
  const rarely = { env: true, hidden: !all };
  const automatic = (shows: string) => ({ fallback: null, shows });
  return object("Model and engine, also from the environment (RADISH_MODEL, RADISH_DEVICE …)", {
    name: value("-m --model", path("DIR|ID", "any"), "folder, Hub id or name (qwen3:0.6b)", {
      ...often,
      shows: "a toy model",
    }),
    source: sourceOption(),
    device: value(
      "--device",
      oneOf(["auto", "cuda", "webgpu", "cpu"], "DEVICE"),
      "cuda, webgpu, cpu or auto",
      {
        ...often,
        fallback: defaults.device,
        shows: "auto: what works",
      },
    ),
    threads: value("--threads", whole("N", 1, 256), "CPU threads of each rank", {
      ...often,
      ...automatic("all cores"),
    }),
    dtype: value(
      "--dtype",
      oneOf(dtypeOptions, "TYPE"),
      "bfloat16, float16, float32, int8, q4",
      { ...often, fallback: defaults.dtype, shows: "as stored" },
    ),
    contextLength: value("--context-length", whole("TOKENS", 1, 1 << 24), "longest prompt plus answer", {
      ...often,
      ...automatic("the model's"),
    }),
    memoryBytes: value("--memory", gibibytes, "of each rank, for weights and cache", {
      ...often,
      ...automatic("what is free"),
    }),
    numPages: value("--num-pages", whole("N", 1, 1 << 26), "pages of the key/value cache, not by --memory", {
      ...rarely,
      fallback: null,
    }),
    pageSize: value("--page-size", whole("TOKENS", 1, 256), "per page, a power of two", {
      ...rarely,
      fallback: pageSize,
    }),
    maxRunningRequests: value("--max-running-requests", whole("N", 1, 4096), "computed at once", {
      ...rarely,
      ...automatic("by device"),
    }),
    maxQueuedRequests: value("--max-queued-requests", whole("N", 0, 1 << 20), "requests that may wait", {
      ...rarely,
      fallback: maxQueuedRequests,
    }),
    maxPrefillTokens: value("--max-prefill-tokens", whole("N", 1, 1 << 20), "prompt tokens per step", {
      ...rarely,
      ...automatic("by device"),
    }),
    cache: value("--cache", oneOf(["radix", "naive"]), "share cached prefixes, or never", {
      ...rarely,
      fallback: cache,
    }),
    overlap: map(flag("--no-overlap", "do not plan a step while one runs", rarely), (no) => !no),
    tp: value("--tp", whole("N", 1, 64), "tensor-parallel ranks", { ...rarely, fallback: tp }),
    reduceType: value("--tp-reduce", oneOf(["float32", "float16"]), "type of sums between ranks", {
      ...rarely,
      fallback: reduceType,
    }),
    gpus: map(
      list("--gpus", "ADDRESS", "of GPUs for the ranks, from doctor (Linux)", rarely),
      (lists) => lists.flatMap((list) => list.split(",")),
    ),
    dummyWeights: flag("--dummy-weights", "random weights; needs only config.json", rarely),
    skipTokenizer: flag("--skip-tokenizer-init", "token ids in, token ids out", rarely),
    allowSpecialTokens: flag("--allow-special-tokens", "messages may contain special tokens", rarely),
  }, asGroup);
};

const gibibytes = (() => {
  const parser = number("GIB", { min: 0.001, max: 65536 });
  return {
    ...parser,
    parse: (input: string) => {
      const result = parser.parse(input);
      return result.success ? { ...result, value: Math.floor(result.value * 2 ** 30) } : result;
    },
  };
})();

/** Options every command has. */
export const commonOptions = () =>
  object("Common", {
    quiet: flag("-q --quiet", "no progress on standard error"),
    verbose: flag("--verbose", "stack traces with errors"),
  }, asGroup);

/** What every command with a model takes, for its `object`. */
export const sessionOptions = (all: boolean) => ({ engine: engineOptions(all), common: commonOptions() });

/** What they parse to. */
export interface SessionOptions {
  /** Which model, and how it runs. */
  readonly engine: InferValue<ReturnType<typeof engineOptions>>;
  /** How much to say. */
  readonly common: InferValue<ReturnType<typeof commonOptions>>;
}
