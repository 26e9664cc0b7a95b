// Where a model's tokenizer is: in `tokenizer.json` and its neighbours, or in a GGUF file's metadata.

import { ggufFile } from "./gguf/find.ts";
import { readGgufHeader } from "./gguf/header.ts";
import { tokenizerFiles } from "./gguf/tokenizer.ts";
import { readJson, readText } from "./json_file.ts";

const most = { tokenizerBytes: 256 << 20, configBytes: 16 << 20, templateBytes: 1 << 20 };

/** A model's tokenizer, unchecked, with names for errors. */
export interface TokenizerFiles {
  /** What `tokenizer.json` holds; undefined where there is none. */
  readonly json: unknown;
  /** Its path. */
  readonly path: string;
  /** What `tokenizer_config.json` holds. */
  readonly config: unknown;
  /** Its path. */
  readonly configPath: string;
  /** The text of `chat_template.jinja`; undefined where there is none. */
  readonly template: string | undefined;
}

/**
 * Reads the files of a model: a folder, or a GGUF file.
 * @throws ModelError naming the file that cannot be read
 */
export async function readTokenizerFiles(model: string): Promise<TokenizerFiles> {
  const path = `${model}/tokenizer.json`, configPath = `${model}/tokenizer_config.json`;
  const json = await readJson(path, most.tokenizerBytes);
  // Where the path is no model at all, `openModel` says so.
  const gguf = json === undefined ? await ggufFile(model).catch(() => null) : null;
  if (gguf !== null) {
    const { tokenizer, config } = tokenizerFiles(await readGgufHeader(gguf), gguf);
    return { json: tokenizer, path: gguf, config, configPath: gguf, template: undefined };
  }
  return {
    json,
    path,
    config: await readJson(configPath, most.configBytes) ?? {},
    configPath,
    template: await readText(`${model}/chat_template.jinja`, most.templateBytes),
  };
}
