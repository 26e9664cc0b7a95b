// Small untrusted files of a model's folder, read with a bound on their size.

import { ModelError } from "../model/json.ts";
import { fill, openForReading } from "./safetensors.ts";

/** The text of a file of at most `mostBytes`; undefined when there is no such file. */
export async function readText(path: string, mostBytes: number): Promise<string | undefined> {
  try {
    await Deno.stat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return undefined;
  }
  using file = await openForReading(path);
  const { size, isFile } = await file.stat();
  if (!isFile) throw new ModelError(`${path}: not a file`);
  if (size > mostBytes) throw new ModelError(`${path}: ${size} bytes are more than the ${mostBytes} allowed`);
  const data = new Uint8Array(size);
  await fill(file, data, path);
  return new TextDecoder().decode(data);
}

/** The parsed content of a JSON file of at most `mostBytes`; undefined when there is no such file. */
export async function readJson(path: string, mostBytes: number): Promise<unknown> {
  const text = await readText(path, mostBytes);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    throw new ModelError(`${path}: not valid JSON`);
  }
}
