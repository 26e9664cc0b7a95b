// Options that say how to sample, shared by `generate` and `chat`.

import { object } from "@optique/core/constructs";
import type { InferValue } from "@optique/core/parser";
import { defaultSamplingParams, limits, type SamplingParams } from "../../engine/params.ts";
import { samplerFields } from "../../engine/sampler_fields.ts";
import { plainSampler, type Sampler } from "../../kernels/sampling.ts";
import { asGroup, flag, list, number, type Option, UsageError, value, whole } from "./option.ts";

/**
 * At the terminal the tail of unlikely tokens is cut where neither the user nor the model's generation_config.json
 * says anything: small models lose the thread without. The HTTP API keeps OpenAI's defaults.
 */
export const terminalDefaults = { temperature: 0.8, topK: 40, topP: 0.95, minP: 0.05 } as const;

/** Left out of `--help`. */
const rare: readonly (keyof Sampler)[] = ["presencePenalty", "frequencyPenalty", "repetitionPenalty"];

/** The sampler's own fields, from the table that the HTTP API goes by, too. */
function samplerOptions(all: boolean): { [name in keyof Sampler]: Option<number | undefined> } {
  const options = samplerFields.map(({ name, jsonName, help, ...bounds }) => {
    const fallback: number | undefined = { ...plainSampler, ...terminalDefaults }[name];
    const spelled = `${name === "temperature" ? "-t " : ""}--${jsonName.replaceAll("_", "-")}`;
    const extras = { shows: `model's or ${fallback}`, hidden: rare.includes(name) && !all };
    return [name, value(spelled, number("X", bounds), help, extras)];
  });
  return Object.fromEntries(options);
}

/** Named as in `SamplingParams`; undefined leaves a value to the model. */
export const samplingOptions = (all: boolean) =>
  object("Sampling", {
    maxTokens: value("-n --max-tokens", whole("N", 1, 1 << 24), "most tokens to generate", {
      shows: "what fits",
    }),
    ...samplerOptions(all),
    seed: value("--seed", whole("N", 0), "the same gives the same text", { shows: "random" }),
    stop: list("--stop", "TEXT", "end before this text (repeatable)"),
    minTokens: value("--min-tokens", whole("N", 0, 1 << 24), "no end of text before N tokens", {
      hidden: !all,
    }),
    ignoreEos: flag("--ignore-eos", "go on after an end of text", { hidden: !all }),
  }, asGroup);

/** What `samplingOptions` parse to. */
export type SamplingOptions = InferValue<ReturnType<typeof samplingOptions>>;

/** Complete parameters: the options over the model's own recommendations over the terminal's defaults. */
export function samplingParams(given: SamplingOptions, recommended: Partial<SamplingParams>): SamplingParams {
  const chosen = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const params = { ...defaultSamplingParams, ...terminalDefaults, ...recommended, ...chosen };
  return { ...params, topK: Math.max(0, params.topK) }; // -1 keeps all, as 0 does
}

/** Throws `UsageError` for what no single option's declaration can check. */
export function checkSampling({ stop }: SamplingOptions): void {
  if (stop.some((text) => text === "")) throw new UsageError("--stop must not be empty");
  if (stop.length > limits.stopStrings) throw new UsageError(`at most ${limits.stopStrings} --stop texts`);
  const tooLong = stop.find((text) => text.length > limits.stopStringLength);
  if (tooLong === undefined) return;
  throw new UsageError(`--stop "${tooLong.slice(0, 20)}…" is longer than ${limits.stopStringLength}`);
}
