// `/set NAME VALUE` in `radish chat`: the sampling of the answers to come.

import { formatMessage } from "@optique/core/message";
import type { SamplingParams } from "../../engine/params.ts";
import { samplerFields } from "../../engine/sampler_fields.ts";
import { type Bounds, number } from "./option.ts";

/** A number that can be set. */
interface Setting extends Bounds {
  readonly name: "maxTokens" | "seed" | typeof samplerFields[number]["name"];
  readonly jsonName: string;
}

const settings: readonly Setting[] = [
  ...samplerFields,
  { name: "maxTokens", jsonName: "max_tokens", min: 1, max: 1 << 24, integer: true },
  { name: "seed", jsonName: "seed", min: 0, max: Number.MAX_SAFE_INTEGER, integer: true },
];

/** A line for each setting. */
export function describeSettings(params: SamplingParams): string {
  return settings.map(({ name, jsonName }) => `${jsonName.padEnd(20)} ${params[name] ?? "not set"}`).join(
    "\n",
  );
}

/** Parameters with one changed, or why not: a sentence. `text` is what follows "/set". */
export function changeSetting(params: SamplingParams, text: string): SamplingParams | string {
  const [given = "", value, ...rest] = text.split(/\s+/);
  const setting = settings.find(({ jsonName }) => jsonName === given.replaceAll("-", "_"));
  if (setting === undefined) {
    return `there is no ${given}; there is ${settings.map(({ jsonName }) => jsonName).join(", ")}`;
  }
  const { name, jsonName, ...bounds } = setting;
  if (value === undefined || rest.length > 0) return `say the value: /set ${jsonName} NUMBER`;
  const result = number("NUMBER", bounds).parse(value);
  if (!result.success) return `${jsonName} ${formatMessage(result.error, { quotes: false })}`;
  return { ...params, [name]: name === "topK" ? Math.max(0, result.value) : result.value };
}
