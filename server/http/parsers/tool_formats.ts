// The known forms of tool calls, and which one a model writes: its chat template shows the form to the model, so the
// template tells. The first that matches is taken; a template that shows none gets Hermes's, the most common.

import { harmony } from "./harmony.ts";
import { hermes } from "./hermes.ts";
import { deepseek, llama, mistral } from "./json_calls.ts";
import type { ToolFormat, ToolParserName } from "./tool_format.ts";
import { qwen3Coder } from "./xml_calls.ts";

/** All forms, the most telling first. */
export const toolFormats: readonly ToolFormat[] = [qwen3Coder, deepseek, harmony, mistral, hermes, llama];

/** The form of the whole answer, thoughts too, if the template has one. */
export const answerFormat = (template: string): ToolFormat | null =>
  toolFormats.find((format) => format.answerStart !== undefined && format.matches(template)) ?? null;

/** The form with this name, or for "auto" the template's; null for "none". */
export function toolFormat(name: ToolParserName, template: string): ToolFormat | null {
  if (name === "none") return null;
  if (name !== "auto") return toolFormats.find((format) => format.name === name) ?? hermes;
  return toolFormats.find((format) => format.matches(template)) ?? hermes;
}
