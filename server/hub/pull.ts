// Pulls a model from a hub into the hub's own cache: what is there already is not fetched again, what was begun is
// continued, and a snapshot's files appear only when they are whole.

import { ModelError } from "../../engine/model/json.ts";
import { readText } from "../../engine/weights/json_file.ts";
import { defaultRetry, HubClient, type RetryPolicy } from "./client.ts";
import { createPool, downloadFile } from "./download.ts";
import {
  checkRevision,
  huggingFaceCache,
  huggingFaceHome,
  isOffline,
  modelScopeCache,
  parseModelName,
  repositoryFolder,
} from "./names.ts";
import { listHuggingFace, listModelScope, type RemoteFile, type RemoteModel } from "./sources.ts";
import { HuggingFaceStore, PlainStore, type Store } from "./store.ts";

/** Hubs that models are pulled from. */
export type HubSource = "huggingface" | "modelscope";

/** How far a pull has got, in bytes over all files; what was there before counts as done. */
export interface PullProgress {
  /** Bytes that are there. */
  readonly doneBytes: number;
  /** Bytes of all files. */
  readonly totalBytes: number;
  /** Bytes that came over the network in this call. */
  readonly fetchedBytes: number;
}

/** How a model is pulled. */
export interface PullOptions {
  /** Default "huggingface". */
  readonly source?: HubSource;
  /** Branch, tag or commit; the hub's default branch unless given. */
  readonly revision?: string | undefined;
  /** Stops; what has come stays for the next time. */
  readonly signal?: AbortSignal | undefined;
  /** Told how far it is. */
  readonly onProgress?: ((progress: PullProgress) => void) | undefined;
  /** Told which host is asked for which model, before it is. */
  readonly onContact?: ((host: string, id: string) => void) | undefined;
  /** Transfers at a time. */
  readonly connections?: number;
  /** Bytes of one range request. */
  readonly segmentBytes?: number;
  /** For tests: when and how often to try again. */
  readonly retry?: RetryPolicy;
  /** Reads an environment variable: HF_ENDPOINT, HF_TOKEN, HF_HOME and so on. */
  readonly env?: (name: string) => string | undefined;
}

const defaultConnections = 8;
const defaultSegmentBytes = 64 << 20;

/**
 * Pulls a model by its name (see `parseModelName`) and returns the folder, or the GGUF file, to open.
 * @throws ModelError, one line; or the signal's reason
 */
export async function pull(nameOrAddress: string, options: PullOptions = {}): Promise<string> {
  const { id: name, revision: addressed, file } = parseModelName(nameOrAddress);
  const env = options.env ?? Deno.env.get;
  if (isOffline(env)) {
    throw new ModelError(`${name} cannot be pulled: HF_HUB_OFFLINE is set; unset it, or name a folder`);
  }
  const source = options.source ?? "huggingface";
  const revision = options.revision ?? addressed ?? (source === "modelscope" ? "master" : "main");
  checkRevision(revision);
  // The first file that fails ends the others too; what they have is kept.
  const failure = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, failure.signal]) : failure.signal;
  const { retry = defaultRetry } = options;
  const isModelScope = source === "modelscope";
  const endpoint = isModelScope
    ? env("MODELSCOPE_ENDPOINT") ?? "https://www.modelscope.cn"
    : env("HF_ENDPOINT") ?? "https://huggingface.co";
  const client = new HubClient(endpoint, isModelScope ? null : await findToken(env), retry, signal);
  options.onContact?.(client.endpoint.host, name);
  const model = await (isModelScope ? listModelScope : listHuggingFace)(client, name, revision, file);
  const store = isModelScope
    ? await PlainStore.open(`${modelScopeCache(env)}/${name}`)
    : await HuggingFaceStore.open(huggingFaceCache(env), repositoryFolder(name), model.commit);
  await fetchAll(client, name, model, store, failure, options);
  await store.complete(revision);
  return model.opens === null ? store.directory : `${store.directory}/${model.opens}`;
}

/** HF_TOKEN, or what `hf auth login` has left. */
async function findToken(env: (name: string) => string | undefined): Promise<string | null> {
  const path = env("HF_TOKEN_PATH") ?? `${huggingFaceHome(env)}/token`;
  const token = (env("HF_TOKEN") ?? await readText(path, 4096).catch(() => undefined))?.trim();
  if (!token) return null;
  if (!/^[\x21-\x7e]+$/.test(token)) throw new ModelError("HF_TOKEN contains characters that no token has");
  return token;
}

async function fetchAll(
  client: HubClient,
  name: string,
  { files }: RemoteModel,
  store: Store,
  failure: AbortController,
  { onProgress, connections = defaultConnections, segmentBytes = defaultSegmentBytes }: PullOptions,
): Promise<void> {
  const totalBytes = files.reduce((sum, { size }) => sum + size, 0);
  let doneBytes = 0;
  let fetchedBytes = 0;
  const report = () => onProgress?.({ doneBytes, totalBytes, fetchedBytes });
  const pool = createPool(connections);
  const fetchOne = async (file: RemoteFile) => {
    if (await store.has(file)) {
      doneBytes += file.size;
      return report();
    }
    let reports = 0;
    const onBytes = (count: number) => {
      doneBytes += count;
      if (reports++ > 0 && count > 0) fetchedBytes += count;
      report();
    };
    const [target, lock] = [store.target(file), store.lock(file)];
    await downloadFile({ client, model: name, file, target, lock, segmentBytes, pool, onBytes });
    await store.publish(file);
  };
  await Promise.all(files.map((file) => fetchOne(file).catch((error) => failure.abort(error))));
  failure.signal.throwIfAborted();
}
