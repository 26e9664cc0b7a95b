// Options that say how to sample, shared by `generate` and `chat`.

import { object } from "@optique/core/constructs";
import type { InferValue } from "@optique/core/parser";
import { defaultSamplingParams, limits, type SamplingParams } from "../../engine/params.ts";
import { flag, list, number, UsageError, value, whole } from "./option.ts";

/**
 * At the terminal the tail of unlikely tokens is cut where neither the user nor the model's generation_config.json
 * says anything: small models lose the thread without. The HTTP API keeps OpenAI's defaults.
 */
export const terminalDefaults = { temperature: 0.8, topK: 40, topP: 0.95, minP: 0.05 } as const;

const modelElse = (fallback: number) => ({ shows: `model's, else ${fallback}` });

/** Named as in `SamplingParams`; undefined leaves a value to the model. */
export const samplingOptions = (all: boolean) =>
  object("Sampling", {
    maxTokens: value("-n --max-tokens", whole("N", 1, 1 << 24), "most tokens to generate", {
      shows: "what fits",
    }),
    temperature: value(
      "-t --temperature",
      number("T", 0, 100),
      "0 is greedy",
      modelElse(terminalDefaults.temperature),
    ),
    topK: value(
      "--top-k",
      whole("K", 0, 1 << 24),
      "the K likeliest; 0 is all",
      modelElse(terminalDefaults.topK),
    ),
    topP: value(
      "--top-p",
      number("P", 0, 1),
      "the likeliest up to this sum",
      modelElse(terminalDefaults.topP),
    ),
    minP: value(
      "--min-p",
      number("P", 0, 1),
      "P times as likely as the best",
      modelElse(terminalDefaults.minP),
    ),
    seed: value("--seed", whole("N", 0), "the same gives the same text", { shows: "random" }),
    stop: list("--stop", "TEXT", "end before this text (repeatable)"),
    presencePenalty: value("--presence-penalty", number("X", -2, 2), "for tokens already there", {
      hidden: !all,
    }),
    frequencyPenalty: value("--frequency-penalty", number("X", -2, 2), "per repetition", { hidden: !all }),
    repetitionPenalty: value(
      "--repetition-penalty",
      number("X", 0.01, 100),
      "divides logits of tokens there",
      {
        hidden: !all,
      },
    ),
    minTokens: value("--min-tokens", whole("N", 0, 1 << 24), "no end of text before N tokens", {
      hidden: !all,
    }),
    ignoreEos: flag("--ignore-eos", "go on after an end of text", { hidden: !all }),
  });

/** What `samplingOptions` parse to. */
export type SamplingOptions = InferValue<ReturnType<typeof samplingOptions>>;

/** Complete parameters: the options over the model's own recommendations over the terminal's defaults. */
export function samplingParams(given: SamplingOptions, recommended: Partial<SamplingParams>): SamplingParams {
  const chosen = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  return { ...defaultSamplingParams, ...terminalDefaults, ...recommended, ...chosen };
}

/** Throws `UsageError` for what no single option's declaration can check. */
export function checkSampling({ stop }: SamplingOptions): void {
  if (stop.some((text) => text === "")) throw new UsageError("--stop must not be empty");
  if (stop.length > limits.stopStrings) throw new UsageError(`at most ${limits.stopStrings} --stop texts`);
  const tooLong = stop.find((text) => text.length > limits.stopStringLength);
  if (tooLong === undefined) return;
  throw new UsageError(`--stop "${tooLong.slice(0, 20)}…" is longer than ${limits.stopStringLength}`);
}
