// `radish pull`: downloads a model into the Hub's own cache, so that other tools share it.

import type { Parsed, pullOptions } from "./command_options.ts";
import { fetchModel } from "./find_model.ts";
import { formatBytes } from "./format.ts";
import { Interrupted, onInterrupt } from "./interrupt.ts";
import { printLine } from "./output.ts";
import { Progress } from "./progress.ts";

/** Runs the command. */
export async function pull({ model, own, common }: Parsed<typeof pullOptions>): Promise<number> {
  const progress = new Progress(common.quiet);
  using interrupt = onInterrupt();
  try {
    const { directory, fetchedBytes } = await fetchModel(model, own, progress, interrupt.signal);
    progress.note(
      `radish: ${fetchedBytes === 0 ? "nothing to download" : `downloaded ${formatBytes(fetchedBytes)}`}`,
    );
    printLine(directory);
    return 0;
  } catch (error) {
    if (error instanceof Interrupted) {
      progress.note("radish: interrupted; the same command goes on from here");
    }
    throw error;
  }
}
