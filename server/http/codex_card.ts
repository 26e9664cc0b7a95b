// The served model as Codex describes models (`ModelInfo` of codex-rs/protocol/src/openai_models.rs): the fields that it
// cannot do without, and the context's length. Codex reads them from its provider's list of models, or from the file
// that its setting `model_catalog_json` names.

import type { Service } from "./service.ts";

/** What Codex tells the model in front of everything; a model with a small context has no room for its usual pages. */
const instructions =
  `You are a coding agent at work in the user's folder, through the tools that you are given.
Look before you change: list the folder, read the files that matter, and run what shows how things stand.
Make the smallest change that does what was asked, in the style of the code around it, and leave alone what is not yours.
Never make up what a file contains or what a command prints.
Check your work by running it or its tests. Ask before anything that cannot be undone.
When you are done, say in a few sentences what you changed and how you know that it works.`;

/** The list for Codex: the model if it generates, else nothing. */
export function codexModels({ task, modelName, engine: { model } }: Service): Record<string, unknown>[] {
  if (task !== "generate") return [];
  return [{
    slug: modelName,
    display_name: modelName,
    description: null,
    supported_reasoning_levels: [],
    shell_type: "default",
    visibility: "list",
    supported_in_api: true,
    priority: 0,
    upgrade: null,
    base_instructions: instructions,
    supports_reasoning_summaries: false,
    support_verbosity: false,
    default_verbosity: null,
    apply_patch_tool_type: null,
    truncation_policy: { mode: "bytes", limit: 10_000 },
    supports_parallel_tool_calls: true,
    context_window: model.contextLength,
    experimental_supported_tools: [],
    input_modalities: ["text"],
  }];
}
