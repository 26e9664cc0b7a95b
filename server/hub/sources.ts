// Where models come from: which files a model has, how large they are, what they hash to and where to get them.
// Hugging Face's API is spoken by `@huggingface/hub`; ModelScope's file list is one request.
//
// Everything a hub says is checked: names, sizes and hashes become paths.

import { listFiles, modelInfo } from "@huggingface/hub";
import { checked, field, ModelError, optional, shown } from "../../engine/model/json.ts";
import { firstLine, type HubClient } from "./client.ts";
import { chooseGguf, isGgufName, noGguf } from "./gguf_files.ts";
import { isCommit, isWanted } from "./names.ts";

/** A file to have. */
export interface RemoteFile {
  /** Path within the model. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Of the content, or git's of a small file (which includes a header). Lower-case hexadecimal. */
  readonly hash: {
    readonly type: "sha256" | "git-sha1";
    readonly value: string;
  };
  /** Where it is fetched. */
  readonly url: URL;
}

/** The files of one revision. */
export interface RemoteModel {
  /** What the files belong to. */
  readonly commit: string;
  /** Those that a model needs to run. */
  readonly files: readonly RemoteFile[];
  /** The file to open, the first of those of a GGUF model; null for a folder. */
  readonly opens: string | null;
}

const mostFiles = 4096;
const mostFileBytes = 2 ** 42;

const modelScopeSchema = field.object({
  Data: optional(field.object({
    Files: optional(field.list(
      field.object({
        Path: optional(field.string),
        Type: optional(field.string),
        Size: optional(field.integer(0, mostFileBytes)),
        Sha256: optional(field.string),
      }),
      100_000,
    )),
  })),
});

/** What Hugging Face has of a model; `file` is the format or the name of a GGUF file. */
export async function listHuggingFace(
  client: HubClient,
  name: string,
  revision: string,
  file: string | undefined,
): Promise<RemoteModel> {
  const hubUrl = client.endpoint.href.replace(/\/$/, "");
  const common = { hubUrl, fetch: client.fetch };
  const files: RemoteFile[] = [];
  let commit: string;
  try {
    const info = await modelInfo({ ...common, name, revision, additionalFields: ["sha"] });
    commit = info.sha;
    if (!isCommit(commit)) {
      throw new ModelError(`${client.endpoint.host}: ${shown(commit)} is not a commit`);
    }
    for await (const entry of listFiles({ ...common, repo: name, revision: commit, recursive: true })) {
      if (entry.type !== "file" || !isWanted(entry.path) && !isGgufName(entry.path)) continue;
      const hash = entry.lfs
        ? { type: "sha256" as const, value: entry.lfs.oid }
        : { type: "git-sha1" as const, value: entry.oid ?? "" };
      const url = new URL(`${hubUrl}/${name}/resolve/${commit}/${entry.path}`);
      files.push(checkedFile({ name: entry.path, size: entry.lfs?.size ?? entry.size, hash, url }));
    }
  } catch (error) {
    throw refusal(error, name, client);
  }
  return checkedModel(commit, files, name, client, file);
}

/** What ModelScope has of a model. It names no commit for a branch, so the revision stands for it. */
export async function listModelScope(
  client: HubClient,
  name: string,
  revision: string,
  file: string | undefined,
): Promise<RemoteModel> {
  const base = `${client.endpoint.href.replace(/\/$/, "")}/api/v1/models/${name}/repo`;
  const query = new URLSearchParams({ Revision: revision, Recursive: "true" });
  const response = await client.fetch(`${base}/files?${query}`);
  if (!response.ok) {
    await response.body?.cancel();
    throw refusal({ statusCode: response.status }, name, client);
  }
  const { Data } = checked(modelScopeSchema, await response.json(), client.endpoint.host);
  const files: RemoteFile[] = [];
  for (const { Path: path, Type, Size: size, Sha256 } of Data?.Files ?? []) {
    if (path === undefined || Type === "tree" || !isWanted(path) && !isGgufName(path)) continue;
    const where = new URLSearchParams({ Revision: revision, FilePath: path });
    files.push(checkedFile({
      name: path,
      size: size ?? NaN,
      hash: { type: "sha256", value: Sha256 ?? "" },
      url: new URL(`${base}?${where}`),
    }));
  }
  return checkedModel(revision, files, name, client, file);
}

function checkedFile(file: RemoteFile): RemoteFile {
  const { name, size, hash } = file;
  if (!Number.isSafeInteger(size) || size < 0 || size > mostFileBytes) {
    throw new ModelError(`the hub says that ${name} has ${shown(size)} bytes`);
  }
  if (!(hash.type === "sha256" ? /^[0-9a-f]{64}$/ : /^[0-9a-f]{40}$/).test(hash.value)) {
    throw new ModelError(`the hub says that the hash of ${name} is ${shown(hash.value)}`);
  }
  return file;
}

/** A model in the Hugging Face layout; where there is none, or `tag` names one, a GGUF file. */
function checkedModel(
  commit: string,
  all: readonly RemoteFile[],
  name: string,
  client: HubClient,
  tag: string | undefined,
): RemoteModel {
  const where = `${name} on ${client.endpoint.host}`;
  if (all.length > mostFiles) {
    throw new ModelError(`${where} has too many files`);
  }
  const files = all.filter((file) => isWanted(file.name));
  const names = all.map((file) => file.name);
  const weights = files.some((file) => file.name.endsWith(".safetensors"));
  if (tag !== undefined || !weights && names.some(isGgufName)) {
    const model = chooseGguf(names, tag);
    if (model === null) throw noGguf(where, names, tag);
    return {
      commit,
      files: all.filter((file) => model.files.includes(file.name)),
      opens: model.files[0]!,
    };
  }
  if (!files.some((file) => file.name === "config.json")) {
    throw new ModelError(`${where} has no config.json`);
  }
  if (!weights) {
    throw new ModelError(`${where} has no weights in the safetensors or GGUF format`);
  }
  return { commit, files, opens: null };
}

/** What a refused request means for the user. */
export function refusal(error: unknown, name: string, client: HubClient): unknown {
  const status = (error as { statusCode?: unknown }).statusCode;
  const { host } = client.endpoint;
  switch (status) {
    case 404:
      return new ModelError(`${host} has no model ${name} (or no such revision)`);
    case 401:
    case 403:
      return new ModelError(
        `${host} refuses ${name}: it does not exist, or it is private or gated. ` +
          `Accept its terms at ${client.endpoint.origin}/${name} and set HF_TOKEN`,
      );
    default:
      if (typeof status === "number") {
        return new ModelError(`${host} answered with status ${status} for ${name}`);
      }
      return error instanceof ModelError || client.signal?.aborted
        ? error
        : new ModelError(`${host}: ${firstLine(error)}`, { cause: error });
  }
}
