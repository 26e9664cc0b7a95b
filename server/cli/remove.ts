// `radish rm`: removes a model from the Hub's cache.

import { removeModel } from "../hub/cache.ts";
import type { Parsed, removeOptions } from "./command_options.ts";
import { formatBytes } from "./format.ts";
import { Progress } from "./progress.ts";

/** Runs the command. */
export async function remove({ model, source, common }: Parsed<typeof removeOptions>): Promise<number> {
  const { directory, bytes } = await removeModel(model, source);
  new Progress(common.quiet).note(`radish: removed ${directory} (${formatBytes(bytes)})`);
  return 0;
}
