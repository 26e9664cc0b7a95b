// `radish list`: the models in the Hub's cache, and whether they can run here.

import { listModels } from "../hub/cache.ts";
import type { ListOptions } from "./command_options.ts";
import { formatBytes } from "./format.ts";
import { printLine } from "./output.ts";

/** Runs the command. */
export async function list({ json }: ListOptions): Promise<number> {
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
