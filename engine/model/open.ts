// Opens a model: reads and checks its configuration and the headers of its weight files, but no weights.
// Cheap, so that a model that cannot run is refused before any device is touched.

import { ggufFile } from "../weights/gguf/find.ts";
import { openGguf } from "../weights/gguf/open.ts";
import { openFolder } from "../weights/huggingface/open.ts";
import type { Model } from "./model.ts";

/**
 * Opens a folder in the Hugging Face layout, a GGUF file, or a folder with one GGUF file (the first, where it is
 * split). `dummy`: the weights are not needed.
 * @throws ModelError, one line that names the file
 */
export async function openModel(path: string, options: { dummy?: boolean } = {}): Promise<Model> {
  const gguf = await ggufFile(path);
  return gguf === null
    ? await openFolder(path, options.dummy ?? false)
    : await openGguf(gguf, options.dummy ?? false);
}
