// Names that come from users and hubs, checked before they become paths or URLs; and where the caches are.
//
// The cache is Hugging Face's own (huggingface.co/docs/huggingface_hub, "Manage your cache"), shared with other
// tools: models--owner--name/{blobs/<hash>, refs/<revision>, snapshots/<commit>/<file> → blobs}.

import { ModelError, shown } from "../../engine/model/json.ts";

const part = "[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?";
const modelName = new RegExp(`^${part}/${part}$`);

/** Whether a text could be the id of a model on a hub: owner/name. */
export function isModelName(text: string): boolean {
  return modelName.test(text) && !text.includes("..") && !text.includes("--");
}

/** Throws unless the text is a model's id. */
export function checkModelName(text: string): void {
  if (!isModelName(text)) {
    throw new ModelError(`${shown(text)} is not the name of a model (owner/name)`);
  }
}

/** Throws unless the text is the name of a branch or tag, or a commit. */
export function checkRevision(text: string): void {
  if (
    !/^[A-Za-z0-9][\w./-]{0,199}$/.test(text) || text.includes("..") || text.includes("//")
  ) {
    throw new ModelError(`${shown(text)} is not a revision`);
  }
}

/** Whether the text is a full commit hash. */
export function isCommit(text: string): boolean {
  return /^[0-9a-f]{40}$/.test(text);
}

/**
 * Whether a file of a repository is part of a model that this program can run: at the top, weights in the names
 * that transformers uses, configuration and tokenizer. Everything else (paths among it) is left alone.
 */
export function isWanted(name: string): boolean {
  return /^model[\w.-]{0,120}\.safetensors$/.test(name) ||
    /^[A-Za-z][\w.-]{0,120}\.(json|jinja)$/.test(name) && !name.includes("..");
}

/** Reads an environment variable. */
export type Environment = (name: string) => string | undefined;

function home(env: Environment): string {
  const directory = env("HOME") ?? env("USERPROFILE");
  if (!directory) {
    throw new ModelError("HOME is not set: set HF_HOME to say where models are kept");
  }
  return directory;
}

/** Where Hugging Face's tools keep their settings. */
export function huggingFaceHome(env: Environment): string {
  return env("HF_HOME") ?? `${env("XDG_CACHE_HOME") ?? `${home(env)}/.cache`}/huggingface`;
}

/** Where Hugging Face's tools keep models. */
export function huggingFaceCache(env: Environment): string {
  return env("HF_HUB_CACHE") ?? env("HUGGINGFACE_HUB_CACHE") ?? `${huggingFaceHome(env)}/hub`;
}

/** Where ModelScope's tools keep models: plain folders owner/name. */
export function modelScopeCache(env: Environment): string {
  return `${env("MODELSCOPE_CACHE") ?? `${home(env)}/.cache/modelscope/hub`}/models`;
}

/** A model's folder in Hugging Face's cache. */
export function repositoryFolder(name: string): string {
  return `models--${name.replace("/", "--")}`;
}
