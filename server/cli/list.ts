// `radish list`: the models in the Hub's cache, and whether they can run here.

import { listModels } from "../hub/cache.ts";
import type { Command, OptionValues } from "./command.ts";
import { commonOptionSpecs } from "./engine_options.ts";
import { formatBytes } from "./format.ts";

/** The subcommand. */
export const list: Command = {
  name: "list",
  summary: "models in the cache, and whether they can run",
  positionals: "",
  maxPositionals: 0,
  options: [{ name: "json", kind: "flag", help: "print a JSON array" }, ...commonOptionSpecs],
  example: "radish list",
  run,
};

async function run(values: OptionValues): Promise<number> {
  const models = await listModels();
  if (values.flag("json")) {
    console.log(JSON.stringify(models, null, 2));
    return 0;
  }
  if (models.length === 0) {
    console.log("no models yet; for example: radish pull Qwen/Qwen3-0.6B");
    return 0;
  }
  const width = Math.max(...models.map(({ name }) => name.length)) + 2;
  for (const { name, architecture, bytes, problem } of models) {
    console.log(`${name.padEnd(width)}${formatBytes(bytes).padStart(10)}  ${problem ?? architecture}`);
  }
  return 0;
}
