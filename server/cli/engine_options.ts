// Options that every command with a model shares: which model, and how its engine runs.

import { object } from "@optique/core/constructs";
import { map } from "@optique/core/modifiers";
import type { InferValue } from "@optique/core/parser";
import { defaultEngineOptions as defaults } from "../../engine/options.ts";
import { kvDTypes } from "../../kernels/kv_format.ts";
import { dtypeOptions } from "../../engine/weights/device_types.ts";
import { asGroup, flag, list, number, oneOf, path, value, valueWith, whole } from "./option.ts";

/** The hub that models are pulled from. */
export const sourceOption = () =>
  value("--source", oneOf(["huggingface", "modelscope"], "HUB"), "hub: huggingface or modelscope", {
    fallback: "huggingface",
    env: true,
  });

/** Which model, and the fields of `EngineOptions`; null leaves a value to the engine. */
export const engineOptions = (all: boolean) => {
  const { pageSize, maxQueuedRequests, cache, tp, reduceType } = defaults;
  const env = { env: true }, rare = { env: true, hidden: !all };
  const often = valueWith(env), rarely = valueWith(rare);
  return object("Model and engine, also from the environment (RADISH_MODEL, RADISH_DEVICE …)", {
    name: often("-m --model", path("DIR|ID", "any"), "folder, Hub id or name (qwen3:0.6b)", {
      shows: "a toy model",
    }),
    source: sourceOption(),
    device: often(
      "--device",
      oneOf(["auto", "cuda", "webgpu", "cpu"], "DEVICE"),
      "cuda, webgpu, cpu or auto",
      { fallback: defaults.device, shows: "auto: what works" },
    ),
    threads: often("--threads", whole("N", 1, 256), "CPU threads of each rank", {
      fallback: null,
      shows: "all cores",
    }),
    dtype: often("--dtype", oneOf(dtypeOptions, "TYPE"), "bfloat16, float16, float32, int8, q4", {
      fallback: defaults.dtype,
      shows: "as stored",
    }),
    kvDType: often("--kv-dtype", oneOf(kvDTypes, "TYPE"), "int8 halves the cache", {
      fallback: defaults.kvDType,
      shows: "16 bits",
    }),
    contextLength: often("--context-length", whole("TOKENS", 1, 1 << 24), "prompt plus answer", {
      fallback: null,
      shows: "the model's",
    }),
    memoryBytes: map(
      often("--memory", number("GIB", { min: 0.001, max: 65536 }), "of each rank, for weights and cache", {
        fallback: null,
        shows: "what is free",
      }),
      (gibibytes) => gibibytes === null ? null : Math.floor(gibibytes * 2 ** 30),
    ),
    numPages: rarely("--num-pages", whole("N", 1, 1 << 26), "pages of the key/value cache, not by --memory", {
      fallback: null,
    }),
    pageSize: rarely("--page-size", whole("TOKENS", 1, 256), "per page, a power of two", {
      fallback: pageSize,
    }),
    maxRunningRequests: rarely("--max-running-requests", whole("N", 1, 4096), "computed at once", {
      fallback: null,
      shows: "by device",
    }),
    maxQueuedRequests: rarely("--max-queued-requests", whole("N", 0, 1 << 20), "requests that may wait", {
      fallback: maxQueuedRequests,
    }),
    maxPrefillTokens: rarely("--max-prefill-tokens", whole("N", 1, 1 << 20), "prompt tokens per step", {
      fallback: null,
      shows: "by device",
    }),
    cache: rarely("--cache", oneOf(["radix", "naive"]), "share cached prefixes, or never", {
      fallback: cache,
    }),
    overlap: map(flag("--no-overlap", "do not plan a step while one runs", rare), (no) => !no),
    tp: rarely("--tp", whole("N", 1, 64), "tensor-parallel ranks", { fallback: tp }),
    reduceType: rarely("--tp-reduce", oneOf(["float32", "float16"]), "type of sums between ranks", {
      fallback: reduceType,
    }),
    gpus: map(
      list("--gpus", "GPU", "of the ranks, by index, UUID or address (doctor)", rare),
      (lists) => lists.flatMap((list) => list.split(",")),
    ),
    dummyWeights: flag("--dummy-weights", "random weights; needs only config.json", rare),
    skipTokenizer: flag("--skip-tokenizer-init", "token ids in, token ids out", rare),
    allowSpecialTokens: flag("--allow-special-tokens", "messages may contain special tokens", rare),
  }, asGroup);
};

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
