// What is in the caches, and the way from a name to a folder.

import { z } from "zod";
import { checked, field, ModelError, optional } from "../../engine/model/json.ts";
import { openModel } from "../../engine/model/open.ts";
import { readGgufHeader } from "../../engine/weights/gguf/header.ts";
import { Metadata } from "../../engine/weights/gguf/metadata.ts";
import { readJson, readText } from "../../engine/weights/json_file.ts";
import { parseWeightMap, type TensorIndex } from "../../engine/weights/tensor_index.ts";
import { chooseGguf, ggufModels, isGgufName, noGguf } from "./gguf_files.ts";
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

/** A model in a cache; of a repository of GGUF files, one of them. */
export interface CachedModel {
  /** As `--model` takes it. */
  readonly name: string;
  /** Which hub's cache it lies in. */
  readonly source: HubSource;
  /** Where its files are. */
  readonly directory: string;
  /** Bytes of its files. */
  readonly bytes: number;
  /** As config.json or the GGUF file says; null when it cannot be read. */
  readonly architecture: string | null;
  /** Types of its tensors, most bytes first. */
  readonly types: readonly string[];
  /** Why it cannot run here, in one line; null when it can. */
  readonly problem: string | null;
}

const configSchema = field.object({ architectures: optional(field.list(z.unknown(), 16)) });

/** All models of the caches, by name. Repositories without a config.json or a GGUF file are left out. */
export async function listModels(env: Environment = Deno.env.get): Promise<CachedModel[]> {
  const models: CachedModel[] = [];
  const hub = huggingFaceCache(env);
  for (const folder of await entries(hub)) {
    const name = /^models--(.+)$/.exec(folder)?.[1]?.replace("--", "/");
    const directory = name === undefined ? null : await latestSnapshot(`${hub}/${folder}`);
    if (name !== undefined && directory !== null) {
      models.push(...await describeAll(name, "huggingface", directory));
    }
  }
  const scope = modelScopeCache(env);
  for (const owner of await entries(scope)) {
    for (const model of await entries(`${scope}/${owner}`)) {
      const directory = `${scope}/${owner}/${model}`;
      if (await holdsModel(directory)) {
        models.push(...await describeAll(`${owner}/${model}`, "modelscope", directory));
      }
    }
  }
  return models.sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
}

/**
 * The folder, or the GGUF file, of a model given by its name (see `parseModelName`); pulls what is not in the cache. Without the network
 * a cached model still opens.
 * @throws ModelError when there is none
 */
export async function resolveModel(
  name: string,
  options: PullOptions = {},
): Promise<{ readonly directory: string; readonly id: string }> {
  const { id: repository, revision, file } = parseModelName(name);
  const id = file === undefined ? repository : `${repository}:${file}`;
  const env = options.env ?? Deno.env.get;
  const cached = options.source === "modelscope" ? `${modelScopeCache(env)}/${repository}` : await snapshot(
    `${huggingFaceCache(env)}/${repositoryFolder(repository)}`,
    options.revision ?? revision ?? "main",
  );
  const path = cached === null ? null : await opensFrom(cached, file);
  if (path !== null) return { directory: path, id };
  if (isOffline(env)) {
    throw new ModelError(
      `${id} is not in the cache, and HF_HUB_OFFLINE is set: unset it, or name a folder with the model`,
    );
  }
  return { directory: await pull(name, options), id };
}

/** What to open in a model's folder: the folder, or a GGUF file; null where something is missing. */
async function opensFrom(directory: string, tag: string | undefined): Promise<string | null> {
  if (tag === undefined && await isComplete(directory)) return directory;
  const model = chooseGguf(await entries(directory), tag);
  return model === null ? null : `${directory}/${model.files[0]}`;
}

/**
 * Removes a model from its hub's cache, all revisions of it; of `owner/name:FORMAT` the files of that format only.
 * @throws ModelError when it is not there
 */
export async function removeModel(
  name: string,
  source: HubSource,
  env: Environment = Deno.env.get,
): Promise<{ readonly directory: string; readonly bytes: number }> {
  const { id, file } = parseModelName(name);
  const hub = huggingFaceCache(env);
  const folder = repositoryFolder(id);
  const directory = source === "modelscope" ? `${modelScopeCache(env)}/${id}` : `${hub}/${folder}`;
  if (!await has(directory)) throw new ModelError(`${id} is not in the cache: there is no ${directory}`);
  if (file !== undefined) return await removeGguf(id, file, directory, source);
  const bytes = await bytesBelow(directory);
  await Deno.remove(directory, { recursive: true });
  // Their absence is no fault: other tools may lock elsewhere.
  if (source === "huggingface") {
    await Deno.remove(`${hub}/.locks/${folder}`, { recursive: true }).catch(() => {});
  }
  return { directory, bytes };
}

/** Removes the files of one format from all revisions, and what their links lead to. */
async function removeGguf(
  id: string,
  tag: string,
  root: string,
  source: HubSource,
): Promise<{ readonly directory: string; readonly bytes: number }> {
  const folders = source === "modelscope" ? [root] : await snapshotsOf(root);
  let bytes = 0, first: string | null = null;
  const all: string[] = [];
  for (const folder of folders) {
    const names = await entries(folder);
    all.push(...names);
    for (const name of chooseGguf(names, tag)?.files ?? []) {
      const path = `${folder}/${name}`;
      first ??= path;
      bytes += await sizeOf(path).catch(() => null) ?? 0;
      const target = await Deno.realPath(path).catch(() => null);
      await Deno.remove(path);
      if (target !== null && target !== path) await Deno.remove(target).catch(() => {}); // another revision's is gone
    }
  }
  if (first === null) throw noGguf(`${id} in the cache`, all, tag);
  return { directory: first, bytes };
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

/** All snapshots of a repository. */
async function snapshotsOf(root: string): Promise<string[]> {
  return (await entries(`${root}/snapshots`)).map((commit) => `${root}/snapshots/${commit}`);
}

/** What "main" stands for, or any snapshot that has a model. */
async function latestSnapshot(root: string): Promise<string | null> {
  const main = await snapshot(root, "main");
  for (const directory of [...(main === null ? [] : [main]), ...await snapshotsOf(root)]) {
    if (await holdsModel(directory)) return directory;
  }
  return null;
}

/** Whether there is a configuration, or a GGUF file. */
async function holdsModel(directory: string): Promise<boolean> {
  return await has(`${directory}/config.json`) || ggufModels(await entries(directory)).length > 0;
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

/** The model of a folder, and each of its GGUF files. */
async function describeAll(name: string, source: HubSource, directory: string): Promise<CachedModel[]> {
  const names = await entries(directory);
  const models: CachedModel[] = [];
  if (await has(`${directory}/config.json`)) {
    const files = names.filter((file) => !isGgufName(file));
    models.push(await describe(name, source, directory, directory, files, configuredArchitecture));
  }
  for (const { tag, files } of ggufModels(names)) {
    const path = `${directory}/${files[0]}`;
    models.push(await describe(`${name}:${tag}`, source, directory, path, files, ggufArchitecture));
  }
  return models;
}

/** The model at `path`, made of `files` of a folder; `architectureOf` asks the path. */
async function describe(
  name: string,
  source: HubSource,
  folder: string,
  path: string,
  files: readonly string[],
  architectureOf: (path: string) => Promise<string | null>,
): Promise<CachedModel> {
  let architecture: string | null = null, types: readonly string[] = [], problem: string | null = null;
  try {
    architecture = await architectureOf(path);
    types = storedTypesOf((await openModel(path)).tensors!);
  } catch (error) {
    // Paths are of no use in a list that has the model's name.
    problem = (error as Error).message.replaceAll(`${folder}/`, "");
  }
  const sizes = await Promise.all(files.map((file) => sizeOf(`${folder}/${file}`).catch(() => null)));
  const bytes = sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0);
  return { name, source, directory: path, bytes, architecture, types, problem };
}

async function configuredArchitecture(directory: string): Promise<string | null> {
  const path = `${directory}/config.json`;
  const first = checked(configSchema, await readJson(path, 4 << 20), path).architectures?.[0];
  return typeof first === "string" ? first.slice(0, 80) : null;
}

async function ggufArchitecture(path: string): Promise<string | null> {
  return new Metadata(await readGgufHeader(path), path).string("general.architecture") ?? null;
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
