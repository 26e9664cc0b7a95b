// How an embedding model makes one vector of a text, as sentence-transformers' files say: `modules.json` lists the
// steps, and the folder of the pooling step has its own `config.json`.

import { z } from "zod";
import { checked, field, ModelError, optional } from "../../model/json.ts";
import { readJson } from "../json_file.ts";

/** From states to an embedding. */
export interface EmbeddingConfig {
  /** The state of the last token, of the first one, or the mean of all. */
  readonly pooling: "last" | "cls" | "mean";
  /** Whether it is divided by its length. */
  readonly normalize: boolean;
}

/** What is done where no file says otherwise: a decoder's last token has seen all others. */
export const defaultEmbedding: EmbeddingConfig = { pooling: "last", normalize: true };

const mostBytes = 1 << 20;

const modules = z.array(field.object({ type: field.string, path: optional(field.string) }), {
  error: "a list of modules",
}).max(16, { error: "a list of at most 16 modules" });

/** Newer files say `pooling_mode`, older ones a flag for each way. */
const poolings = field.object({
  pooling_mode: optional(field.string),
  pooling_mode_cls_token: optional(field.boolean),
  pooling_mode_mean_tokens: optional(field.boolean),
  pooling_mode_lasttoken: optional(field.boolean),
});

const byName: Readonly<Record<string, EmbeddingConfig["pooling"]>> = {
  lasttoken: "last",
  last: "last",
  cls: "cls",
  mean: "mean",
};

/**
 * What a model's folder says; null for one that is no embedding model.
 * @throws ModelError naming the file, also for a step or a pooling that is not known
 */
export async function readEmbeddingConfig(directory: string): Promise<EmbeddingConfig | null> {
  const path = `${directory}/modules.json`;
  const json = await readJson(path, mostBytes);
  if (json === undefined) return null;
  let pooling = defaultEmbedding.pooling, normalize = false;
  for (const { type, path: folder = "" } of checked(modules, json, path)) {
    // "sentence_transformers.models.Pooling", or a longer way to the same class
    switch (type.split(".").at(-1)) {
      case "Transformer":
        break;
      case "Normalize":
        normalize = true;
        break;
      case "Pooling":
        pooling = await readPooling(directory, folder);
        break;
      default:
        throw new ModelError(`${path}: the module ${type.slice(0, 80)} is not supported`);
    }
  }
  return { pooling, normalize };
}

async function readPooling(directory: string, folder: string): Promise<EmbeddingConfig["pooling"]> {
  if (!/^\w{1,40}$/.test(folder)) {
    throw new ModelError(`${directory}/modules.json: "path" must name a folder`);
  }
  const path = `${directory}/${folder}/config.json`;
  const json = await readJson(path, mostBytes);
  if (json === undefined) throw new ModelError(`${path}: no such file; pull the model again`);
  const { pooling_mode: name, ...flags } = checked(poolings, json, path);
  if (name !== undefined) {
    const found = byName[name];
    if (found) return found;
    throw new ModelError(
      `${path}: pooling_mode ${name.slice(0, 40)} is not supported: only lasttoken, cls and mean`,
    );
  }
  if (flags.pooling_mode_lasttoken) return "last";
  if (flags.pooling_mode_cls_token) return "cls";
  if (flags.pooling_mode_mean_tokens) return "mean";
  throw new ModelError(`${path}: this pooling is not supported: only lasttoken, cls and mean`);
}
