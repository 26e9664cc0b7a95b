// `radish list`: the models in the Hub's cache, and whether they can run here; or the architectures that can.

import { families, knownArchitectures } from "../../engine/weights/families/mod.ts";
import { listModels } from "../hub/cache.ts";
import type { listOptions, Parsed } from "./command_options.ts";
import { formatBytes } from "./format.ts";
import { printLine } from "./output.ts";

/** Runs the command. */
export async function list({ architectures, json }: Parsed<typeof listOptions>): Promise<number> {
  if (architectures) return listArchitectures(json);
  const models = await listModels();
  if (json) {
    printLine(JSON.stringify(models, null, 2));
    return 0;
  }
  if (models.length === 0) {
    printLine("no models yet; for example: radish pull Qwen/Qwen3-0.6B");
    return 0;
  }
  const width = Math.max(...models.map(({ name }) => name.length)) + 2;
  for (const { name, architecture, bytes, types, problem } of models) {
    const kind = problem ?? `${architecture}, ${types.join(" and ")}`;
    printLine(`${name.padEnd(width)}${formatBytes(bytes).padStart(10)}  ${kind}`);
  }
  return 0;
}

/** Names as `config.json` spells them, and as GGUF does. */
function listArchitectures(json: boolean): number {
  const rows = families.flatMap(({ architectures, gguf }) =>
    architectures.map((architecture) => ({ architecture, gguf: gguf?.name ?? null }))
  );
  if (json) {
    printLine(JSON.stringify(rows, null, 2));
    return 0;
  }
  const width = Math.max(...knownArchitectures.map(({ length }) => length)) + 2;
  for (const { architecture, gguf } of rows) {
    printLine(gguf === null ? architecture : `${architecture.padEnd(width)}GGUF: ${gguf}`);
  }
  return 0;
}
