// Options that say how to sample, shared by `generate` and `chat`.

import { defaultSamplingParams, limits, type SamplingParams } from "../../engine/params.ts";
import { type OptionSpec, type OptionValues, UsageError } from "./command.ts";

/** Declared once, listed by every command that generates. */
export const samplingOptionSpecs: readonly OptionSpec[] = [
  {
    name: "max-tokens",
    short: "n",
    kind: "integer",
    value: "N",
    min: 1,
    max: 1 << 24,
    help: "most tokens to generate",
    fallback: "what the context holds",
  },
  {
    name: "temperature",
    short: "t",
    kind: "number",
    value: "T",
    min: 0,
    max: 100,
    help: "0 is greedy",
    fallback: "the model's, else 1",
  },
  {
    name: "top-k",
    kind: "integer",
    value: "K",
    min: 0,
    max: 1 << 24,
    help: "keep the K likeliest tokens; 0 keeps all",
  },
  {
    name: "top-p",
    kind: "number",
    value: "P",
    min: 0,
    max: 1,
    help: "keep the likeliest tokens up to this probability",
  },
  {
    name: "min-p",
    kind: "number",
    value: "P",
    min: 0,
    max: 1,
    help: "keep tokens at least P times as likely as the best",
  },
  {
    name: "seed",
    kind: "integer",
    value: "N",
    min: 0,
    help: "the same seed gives the same text",
    fallback: "random",
  },
  { name: "stop", kind: "list", value: "TEXT", help: "end before this text (repeatable)" },
  {
    name: "presence-penalty",
    kind: "number",
    value: "X",
    min: -2,
    max: 2,
    help: "penalty for tokens already there",
  },
  { name: "frequency-penalty", kind: "number", value: "X", min: -2, max: 2, help: "penalty per repetition" },
  {
    name: "repetition-penalty",
    kind: "number",
    value: "X",
    min: 0.01,
    max: 100,
    help: "divides the logits of tokens already there",
  },
  {
    name: "min-tokens",
    kind: "integer",
    value: "N",
    min: 0,
    max: 1 << 24,
    help: "no end of text before so many tokens",
  },
  { name: "ignore-eos", kind: "flag", help: "go on after an end of text" },
];

/** Complete parameters: the options over the model's own recommendations over the defaults. */
export function samplingParams(values: OptionValues, recommended: Partial<SamplingParams>): SamplingParams {
  const base = { ...defaultSamplingParams, ...recommended };
  const stop = values.list("stop");
  if (stop.some((s) => s === "")) throw new UsageError("--stop must not be empty");
  if (stop.length > limits.stopStrings) throw new UsageError(`at most ${limits.stopStrings} --stop texts`);
  const tooLong = stop.find((s) => s.length > limits.stopStringLength);
  if (tooLong) {
    throw new UsageError(`--stop "${tooLong.slice(0, 20)}…" is longer than ${limits.stopStringLength}`);
  }
  return {
    ...base,
    maxTokens: values.number("max-tokens") ?? base.maxTokens,
    temperature: values.number("temperature") ?? base.temperature,
    topK: values.number("top-k") ?? base.topK,
    topP: values.number("top-p") ?? base.topP,
    minP: values.number("min-p") ?? base.minP,
    seed: values.number("seed") ?? null,
    stop,
    presencePenalty: values.number("presence-penalty") ?? base.presencePenalty,
    frequencyPenalty: values.number("frequency-penalty") ?? base.frequencyPenalty,
    repetitionPenalty: values.number("repetition-penalty") ?? base.repetitionPenalty,
    minTokens: values.number("min-tokens") ?? 0,
    ignoreEos: values.flag("ignore-eos"),
  };
}
