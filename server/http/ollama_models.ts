// What Ollama's clients want to know of a model: its name with a tag, its family, size and abilities.

import type { ModelInfo } from "../../engine/options.ts";
import type { Service } from "./service.ts";

/** The version of Ollama whose API this is; clients refuse older ones. */
export const ollamaVersion = "0.14.0";

/** Names of Ollama have a tag; "latest" where nothing else is said. */
export function taggedName(service: Service): string {
  const name = service.modelName;
  return /:[^/]*$/.test(name) ? name : `${name}:latest`;
}

/** Names without a tag that a client may ask by, and those with one. */
export function ollamaNames(service: Service): readonly string[] {
  return [...service.modelNames, ...service.modelNames.map((name) => `${name}:latest`)];
}

/** An entry of /api/tags and /api/ps. */
export function ollamaCard(service: Service): Record<string, unknown> {
  const { model } = service.engine;
  const name = taggedName(service);
  return { name, model: name, size: model.weightBytes, digest: digestOf(model), details: details(model) };
}

/** The time of the server's start. */
export function modifiedAt(service: Service): string {
  return new Date(service.started * 1000).toISOString();
}

/** The answer of /api/show. */
export function ollamaDescription(service: Service): Record<string, unknown> {
  const { model } = service.engine;
  const { config, chatTemplate, contextLength } = model;
  const arch = config.modelType;
  const template = chatTemplate ?? "";
  return {
    modelfile: `FROM ${model.path}`,
    parameters: "",
    template,
    details: details(model),
    model_info: {
      "general.architecture": arch,
      "general.basename": service.modelName,
      [`${arch}.context_length`]: contextLength,
      [`${arch}.embedding_length`]: config.hiddenSize,
      [`${arch}.block_count`]: config.numLayers,
      [`${arch}.attention.head_count`]: config.numHeads,
      [`${arch}.attention.head_count_kv`]: config.numKvHeads,
      [`${arch}.vocab_size`]: config.vocabSize,
    },
    capabilities: capabilities(service),
    modified_at: modifiedAt(service),
  };
}

/** What a model can do: what it is for, and what its template knows. */
export function capabilities({ task, engine: { model } }: Service): string[] {
  switch (task) {
    case "embed":
      return ["embedding"];
    case "rerank":
      return ["rerank"];
    case "generate": {
      const template = model.chatTemplate ?? "";
      return [
        "completion",
        ...(/\btools\b/.test(template) ? ["tools"] : []),
        ...(template.includes("<think>") ? ["thinking"] : []),
      ];
    }
  }
}

function details(model: ModelInfo): Record<string, unknown> {
  const family = model.config.modelType;
  return {
    parent_model: "",
    format: "safetensors",
    family,
    families: [family],
    parameter_size: "",
    quantization_level: model.config.dtype.toUpperCase(),
  };
}

/** Clients show it and compare it; it stands for the name and the size, not for the content. */
function digestOf(model: ModelInfo): string {
  const hex = [...new TextEncoder().encode(`${model.id} ${model.weightBytes}`)]
    .map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.padEnd(64, "0").slice(0, 64);
}
