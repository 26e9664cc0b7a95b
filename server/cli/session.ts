// What every command with a model does first: find the model, start the engine, say what is going on.

import { fileURLToPath } from "node:url";
import { Engine, type StartOptions } from "../../engine/engine.ts";
import type { OptionValues } from "./command.ts";
import type { HubSource } from "../hub/pull.ts";
import { formatBytes } from "./format.ts";
import { onInterrupt } from "./interrupt.ts";
import { engineOptions } from "./engine_options.ts";
import { Progress } from "./progress.ts";

/** The model inside the program. */
export const embeddedModel: string = fileURLToPath(new URL("../../models/pocket", import.meta.url));

/** A started engine and where to report. */
export interface Session extends AsyncDisposable {
  /** Ready for requests. */
  readonly engine: Engine;
  /** For further messages to the user. */
  readonly progress: Progress;
  /** Milliseconds from the call to a ready engine. */
  readonly loadMilliseconds: number;
}

/** Weights of more bytes than this are worth a word about smaller ones. */
const noticeableBytes = 2 ** 28;

/** Starts an engine from parsed options. Throws with one line when it cannot. */
export async function startSession(
  values: OptionValues,
  warmUp: boolean,
  start: Pick<StartOptions, "stallSeconds"> = {},
): Promise<Session> {
  const began = performance.now();
  const progress = new Progress(values.flag("quiet"));
  const name = values.text("model");
  if (name === undefined) {
    progress.note("radish: using the embedded toy model; --model Qwen/Qwen3-0.6B takes a real one");
  }
  if ((values.number("tp") ?? 1) > 1 && values.text("device") !== "cpu" && !mayLookAnywhere()) {
    progress.note("radish: without all permissions several GPUs cannot be told apart: ranks share one");
  }
  const directory = name === undefined ? embeddedModel : await findModel(name, values, progress);
  const engine = await Engine.start(engineOptions(values, directory), {
    modelId: name ?? "pocket",
    warmUp,
    leaveDevices: true,
    ...start,
    onProgress: ({ message, fraction }) => progress.update(message, fraction),
  });
  progress.clear();
  const { model } = engine;
  const tokens = model.numPages * model.pageSize;
  progress.note(
    `radish: ${model.device.description} (${engine.deviceReason}); weights ${formatBytes(model.weightBytes)}${
      model.tp > 1 ? ` on each of ${model.tp} ranks` : ""
    }, ` +
      `cache for ${tokens.toLocaleString("en")} tokens`,
  );
  const dtype = values.text("dtype") ?? "auto";
  if (model.device.kind === "cpu" && dtype === "auto" && model.weightBytes > noticeableBytes) {
    progress.note("radish: on a CPU --dtype int8 answers faster and takes half the memory");
  }
  return {
    engine,
    progress,
    loadMilliseconds: performance.now() - began,
    [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
  };
}

/** Deno shows /sys, where GPUs are listed, only to programs with all permissions; native code is the last of them. */
function mayLookAnywhere(): boolean {
  return Deno.build.os !== "linux" || Deno.permissions.querySync({ name: "ffi" }).state === "granted";
}

/** A directory as it is; a Hub id from the cache, or pulled when it is missing. */
async function findModel(name: string, values: OptionValues, progress: Progress): Promise<string> {
  if (await Deno.stat(name).then((entry) => entry.isDirectory, () => false)) return name;
  // Loaded only for a model with a Hub name: a folder should open at once.
  const { resolveModel } = await import("../hub/cache.ts");
  using interrupt = onInterrupt();
  const directory = await resolveModel(name, {
    source: (values.text("source") ?? "huggingface") as HubSource,
    signal: interrupt.signal,
    onProgress: ({ doneBytes, totalBytes }) => {
      const message = `pulling ${name}, ${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}`;
      progress.update(message, doneBytes / totalBytes);
    },
  });
  progress.clear();
  return directory;
}
