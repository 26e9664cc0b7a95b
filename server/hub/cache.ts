// What is in the caches, and the way from a name to a folder.

import { z } from "zod";
import { checked, field, ModelError, optional } from "../../engine/model/json.ts";
import { openModel } from "../../engine/model/open.ts";
import { readJson, readText } from "../../engine/weights/json_file.ts";
import { parseWeightMap, type TensorIndex } from "../../engine/weights/tensor_index.ts";
import {
  type Environment,
  huggingFaceCache,
  isCommit,
  isOffline,
  modelScopeCache,
  parseModelName,
  repositoryFolder,
} from "./names.ts";
import { type HubSource, pull, type PullOptions } from "./pull.ts";
import { sizeOf } from "./store.ts";

/** A model in a cache. */
export interface CachedModel {
  /** As `--model` takes it. */
  readonly name: string;
  /** Which hub's cache it lies in. */
  readonly source: HubSource;
  /** Where its files are. */
  readonly directory: string;
  /** Bytes of the files in its folder. */
  readonly bytes: number;
  /** As config.json says; null when it cannot be read. */
  readonly architecture: string | null;
  /** Types of its tensors, most bytes first. */
  readonly types: readonly string[];
  /** Why it cannot run here, in one line; null when it can. */
  readonly problem: string | null;
}

const configSchema = field.object({ architectures: optional(field.list(z.unknown(), 16)) });

/** All models of the caches, by name. Repositories without a config.json are not models and are left out. */
export async function listModels(env: Environment = Deno.env.get): Promise<CachedModel[]> {
  const models: CachedModel[] = [];
  const hub = huggingFaceCache(env);
  for (const folder of await entries(hub)) {
    const name = /^models--(.+)$/.exec(folder)?.[1]?.replace("--", "/");
    const directory = name === undefined ? null : await latestSnapshot(`${hub}/${folder}`);
    if (name !== undefined && directory !== null) {
      models.push(await describe(name, "huggingface", directory));
    }
  }
  const scope = modelScopeCache(env);
  for (const owner of await entries(scope)) {
    for (const model of await entries(`${scope}/${owner}`)) {
      const directory = `${scope}/${owner}/${model}`;
      if (await has(`${directory}/config.json`)) {
        models.push(await describe(`${owner}/${model}`, "modelscope", directory));
      }
    }
  }
  return models.sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
}

/**
 * The folder of a model given by its name (see `parseModelName`); pulls what is not in the cache. Without the network
 * a cached model still opens.
 * @throws ModelError when there is none
 */
export async function resolveModel(
  name: string,
  options: PullOptions = {},
): Promise<{ readonly directory: string; readonly id: string }> {
  const { id, revision } = parseModelName(name);
  const env = options.env ?? Deno.env.get;
  const cached = options.source === "modelscope" ? `${modelScopeCache(env)}/${id}` : await snapshot(
    `${huggingFaceCache(env)}/${repositoryFolder(id)}`,
    options.revision ?? revision ?? "main",
  );
  if (cached !== null && await isComplete(cached)) return { directory: cached, id };
  if (isOffline(env)) {
    throw new ModelError(
      `${id} is not in the cache, and HF_HUB_OFFLINE is set: unset it, or name a folder with the model`,
    );
  }
  return { directory: await pull(name, options), id };
}

/**
 * Removes a model from its hub's cache, all revisions of it.
 * @throws ModelError when it is not there
 */
export async function removeModel(
  name: string,
  source: HubSource,
  env: Environment = Deno.env.get,
): Promise<{ readonly directory: string; readonly bytes: number }> {
  const { id } = parseModelName(name);
  const hub = huggingFaceCache(env);
  const folder = repositoryFolder(id);
  const directory = source === "modelscope" ? `${modelScopeCache(env)}/${id}` : `${hub}/${folder}`;
  if (!await has(directory)) throw new ModelError(`${id} is not in the cache: there is no ${directory}`);
  const bytes = await bytesBelow(directory);
  await Deno.remove(directory, { recursive: true });
  // Their absence is no fault: other tools may lock elsewhere.
  if (source === "huggingface") {
    await Deno.remove(`${hub}/.locks/${folder}`, { recursive: true }).catch(() => {});
  }
  return { directory, bytes };
}

/** Bytes of all files in a folder and its folders; links count nothing. */
async function bytesBelow(directory: string): Promise<number> {
  let bytes = 0;
  for await (const { name, isFile, isDirectory } of Deno.readDir(directory)) {
    const path = `${directory}/${name}`;
    if (isDirectory) bytes += await bytesBelow(path);
    else if (isFile) bytes += (await Deno.lstat(path)).size;
  }
  return bytes;
}

/** The snapshot that a revision stood for when it was pulled. */
async function snapshot(root: string, revision: string): Promise<string | null> {
  const commit = isCommit(revision)
    ? revision
    : /^[\w][\w./-]*$/.test(revision) && !revision.includes("..")
    ? (await readText(`${root}/refs/${revision}`, 4096).catch(() => undefined))
      ?.trim()
    : undefined;
  return commit !== undefined && isCommit(commit) ? `${root}/snapshots/${commit}` : null;
}

/** What "main" stands for, or any snapshot that has a configuration. */
async function latestSnapshot(root: string): Promise<string | null> {
  const main = await snapshot(root, "main");
  const others = (await entries(`${root}/snapshots`)).map((commit) => `${root}/snapshots/${commit}`);
  for (const directory of [...(main === null ? [] : [main]), ...others]) {
    if (await has(`${directory}/config.json`)) return directory;
  }
  return null;
}

/** Whether configuration and all weights are there. */
async function isComplete(directory: string): Promise<boolean> {
  if (!await has(`${directory}/config.json`)) return false;
  const path = `${directory}/model.safetensors.index.json`;
  const index = await readJson(path, 64 << 20);
  if (index === undefined) return await has(`${directory}/model.safetensors`);
  for (const file of new Set(parseWeightMap(index, path).values())) {
    if (!await has(`${directory}/${file}`)) return false;
  }
  return true;
}

async function describe(name: string, source: HubSource, directory: string): Promise<CachedModel> {
  let architecture: string | null = null;
  let types: readonly string[] = [];
  let problem: string | null = null;
  try {
    const path = `${directory}/config.json`;
    const first = checked(configSchema, await readJson(path, 4 << 20), path).architectures?.[0];
    architecture = typeof first === "string" ? first.slice(0, 80) : null;
    types = storedTypesOf((await openModel(directory)).tensors!);
  } catch (error) {
    // Paths are of no use in a list that has the model's name.
    problem = (error as Error).message.replaceAll(`${directory}/`, "");
  }
  let bytes = 0;
  for (const file of await entries(directory)) {
    bytes += await sizeOf(`${directory}/${file}`).catch(() => null) ?? 0;
  }
  return { name, source, directory, bytes, architecture, types, problem };
}

/** Types of tensors, most bytes first. */
function storedTypesOf(tensors: TensorIndex): string[] {
  const byType = new Map<string, number>();
  for (const { dtype, bytes } of tensors.values()) byType.set(dtype, (byType.get(dtype) ?? 0) + bytes);
  return [...byType].sort(([, a], [, b]) => b - a).map(([type]) => type);
}

/** Names in a folder, in order; none when there is no such folder. */
async function entries(directory: string): Promise<string[]> {
  try {
    return (await Array.fromAsync(Deno.readDir(directory), ({ name }) => name))
      .sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return [];
    throw error;
  }
}

async function has(path: string): Promise<boolean> {
  return await sizeOf(path).catch(() => null) !== null;
}
