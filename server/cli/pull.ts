// `radish pull`: downloads a model into the Hub's own cache, so that other tools share it.

import { type HubSource, pull as pullModel } from "../hub/pull.ts";
import { type Command, type OptionValues, UsageError } from "./command.ts";
import { formatBytes } from "./format.ts";
import { commonOptionSpecs } from "./engine_options.ts";
import { onInterrupt } from "./interrupt.ts";
import { Progress } from "./progress.ts";

/** The subcommand. */
export const pull: Command = {
  name: "pull",
  summary: "download a model from the Hugging Face Hub or ModelScope",
  positionals: "OWNER/NAME",
  maxPositionals: 1,
  options: [
    {
      name: "revision",
      kind: "text",
      value: "REV",
      help: "branch, tag or commit",
      fallback: "the main branch",
    },
    {
      name: "source",
      kind: "text",
      choices: ["huggingface", "modelscope"],
      env: "RADISH_SOURCE",
      help: "which hub",
      fallback: "huggingface",
    },
    {
      name: "connections",
      kind: "integer",
      value: "N",
      min: 1,
      max: 64,
      help: "transfers at a time",
      fallback: "8",
    },
    ...commonOptionSpecs,
  ],
  example: "radish pull Qwen/Qwen3-0.6B",
  run,
};

async function run(values: OptionValues, [name]: readonly string[]): Promise<number> {
  if (name === undefined) throw new UsageError("which model? For example: radish pull Qwen/Qwen3-0.6B");
  const progress = new Progress(values.flag("quiet"));
  using interrupt = onInterrupt();
  const connections = values.number("connections");
  let fetched = 0;
  try {
    const directory = await pullModel(name, {
      source: (values.text("source") ?? "huggingface") as HubSource,
      revision: values.text("revision"),
      signal: interrupt.signal,
      ...(connections === undefined ? {} : { connections }),
      onProgress: ({ doneBytes, totalBytes, fetchedBytes }) => {
        fetched = fetchedBytes;
        progress.update(
          `${name} ${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}`,
          doneBytes / totalBytes,
        );
      },
    });
    progress.clear();
    progress.note(`radish: ${fetched === 0 ? "nothing to download" : `downloaded ${formatBytes(fetched)}`}`);
    console.log(directory);
    return 0;
  } catch (error) {
    progress.clear();
    if (!interrupt.signal.aborted) throw error;
    progress.note("radish: interrupted; the same command goes on from here");
    return 130;
  }
}
