// Which GGUF file a path means: the file itself, or the only model in a folder.

import { ModelError } from "../../model/json.ts";

/**
 * The GGUF file that a path means; null for a folder in the Hugging Face layout.
 * @throws ModelError where there is nothing, or several files to choose from
 */
export async function ggufFile(path: string): Promise<string | null> {
  const info = await Deno.stat(path).catch(() => null);
  if (info === null) throw new ModelError(`${path}: no such file or folder`);
  if (!info.isDirectory) {
    if (path.endsWith(".gguf")) return path;
    throw new ModelError(`${path}: not a model (a folder with config.json, or a file NAME.gguf)`);
  }
  const names = (await Array.fromAsync(Deno.readDir(path))).map(({ name }) => name);
  if (names.includes("config.json")) return null;
  const files = names.filter((name) =>
    name.endsWith(".gguf") && !/-(?!00001)\d{5}-of-\d{5}\.gguf$/.test(name)
  );
  if (files.length === 1) return `${path}/${files[0]}`;
  if (files.length === 0) throw new ModelError(`${path}: not a model's folder (no config.json, no .gguf)`);
  throw new ModelError(
    `${path}: several models (${files.sort().slice(0, 5).join(", ")}); name one of the files`,
  );
}
