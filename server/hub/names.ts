// Names that come from users and hubs, checked before they become paths or URLs; and where the caches are.
//
// The cache is Hugging Face's own (huggingface.co/docs/huggingface_hub, "Manage your cache"), shared with other
// tools: models--owner--name/{blobs/<hash>, refs/<revision>, snapshots/<commit>/<file> → blobs}.

import { ModelError, shown } from "../../engine/model/json.ts";
import { shortNames } from "./short_names.ts";

const part = "[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?";
const modelName = new RegExp(`^${part}/${part}$`);

/** Whether a text could be the id of a model on a hub: owner/name. */
export function isModelName(text: string): boolean {
  return modelName.test(text) && !text.includes("..") && !text.includes("--");
}

/** A model on a hub. */
export interface ModelReference {
  /** owner/name. */
  readonly id: string;
  /** If an address names one. */
  readonly revision: string | undefined;
  /** Format or name of a GGUF file of the repository, from `owner/name:Q4_K_M` or the address of a file. */
  readonly file?: string;
}

const address =
  /^(?:https?:\/\/)?(?:www\.)?(?:huggingface\.co|hf\.co)\/([^/?#]+\/[^/?#]+)(?:\/(?:tree|blob|resolve)\/([^?#]+))?\/?(?:[?#].*)?$/i;

/**
 * A model by its id (with the format of a GGUF file behind it, as in "owner/name:Q4_K_M"), by its address on the Hub
 * (with or without https://, as copied from a browser), or by a short name such as "qwen3:0.6b".
 * @throws ModelError when it is none of them
 */
export function parseModelName(text: string): ModelReference {
  const short = shortNames.get(text.toLowerCase());
  if (short !== undefined) return { id: short, revision: undefined };
  const [, named, path] = address.exec(text) ?? [];
  const [, before, tag] = /^([^:]*\/[^:]*):([\w.-]{1,200})$/.exec(text) ?? [];
  const id = named ?? before ?? text;
  const [revision, ...rest] = path?.split("/") ?? [];
  const file = tag ?? (rest.length === 1 && rest[0]!.endsWith(".gguf") ? rest[0] : undefined);
  if (isModelName(id)) return file === undefined ? { id, revision } : { id, revision, file };
  const family = text.split(":")[0]!.toLowerCase();
  const known = [...shortNames.keys()].filter((name) => family !== "" && name.startsWith(family));
  const hint = known.length > 0 ? `; short names: ${known.join(", ")}` : "";
  throw new ModelError(
    `${
      shown(text)
    } is neither a file or folder nor the name of a model on a hub (owner/name, or its address)${hint}`,
  );
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
 * that transformers uses, configuration and tokenizer; in a folder, how an embedding model pools. Everything else is
 * left alone.
 */
export function isWanted(name: string): boolean {
  return /^\d{1,2}_Pooling\/config\.json$/.test(name) ||
    /^model[\w.-]{0,120}\.safetensors$/.test(name) ||
    /^[A-Za-z][\w.-]{0,120}\.(json|jinja)$/.test(name) && !name.includes("..");
}

/** Reads an environment variable. */
export type Environment = (name: string) => string | undefined;

/** Whether the environment forbids asking a hub; the variables and values are huggingface_hub's. */
export function isOffline(env: Environment): boolean {
  const values = [env("HF_HUB_OFFLINE"), env("TRANSFORMERS_OFFLINE")];
  return values.some((value) => /^(1|on|yes|true)$/i.test(value ?? ""));
}

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
