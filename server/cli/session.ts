// What every command with a model does first: find the model, start the engine, say what is going on.

import { fileURLToPath } from "node:url";
import { Engine, type StartOptions } from "../../engine/engine.ts";
import type { EngineOptions } from "../../engine/options.ts";
import { formats } from "../../kernels/formats/mod.ts";
import type { ServedEngine } from "../http/engine_api.ts";
import type { SessionOptions } from "./engine_options.ts";
import { findModel } from "./find_model.ts";
import { formatBytes } from "./format.ts";
import { onInterrupt, unlessInterrupted } from "./interrupt.ts";
import { Progress } from "./progress.ts";

/** The model inside the program. */
export const embeddedModel: string = fileURLToPath(new URL("../../models/pocket", import.meta.url));

/** What a command needs of an engine, or of several that look like one. */
export interface SessionEngine extends ServedEngine, AsyncDisposable {
  /** Why this device was chosen. */
  readonly deviceReason: string;
}

/** A started engine and where to report. */
export interface Session<E extends SessionEngine = Engine> extends AsyncDisposable {
  /** Ready for requests. */
  readonly engine: E;
  /** For further messages to the user. */
  readonly progress: Progress;
  /** Milliseconds from the call to a ready engine. */
  readonly loadMilliseconds: number;
}

/** Weights of more bytes than this are worth a word about smaller ones. */
const noticeableBytes = 2 ** 28;

/** Starts an engine from parsed options. Throws with one line when it cannot, `Interrupted` after Ctrl-C. */
export function startSession(options: SessionOptions, warmUp: boolean): Promise<Session> {
  return startSessionWith(options, { warmUp }, Engine.start);
}

/** The same with another way to start the engine. */
export async function startSessionWith<E extends SessionEngine>(
  { engine: { name, source, ...options }, common }: SessionOptions,
  start: Pick<StartOptions, "warmUp" | "stallSeconds">,
  startEngine: (options: EngineOptions, start: StartOptions) => Promise<E>,
): Promise<Session<E>> {
  const began = performance.now();
  using interrupt = onInterrupt();
  const progress = new Progress(common.quiet);
  if (name === undefined) {
    progress.note("radish: using the embedded toy model; --model Qwen/Qwen3-0.6B takes a real one");
  }
  if (options.tp > 1 && options.device !== "cpu" && !mayLookAnywhere()) {
    progress.note("radish: without all permissions several GPUs cannot be told apart: ranks share one");
  }
  const { directory: modelDir, id } = name === undefined
    ? { directory: embeddedModel, id: "pocket" }
    : await findModel(name, source, progress, interrupt.signal);
  const starting = startEngine({
    ...options,
    modelDir,
    ...testHook(Deno.env.get("RADISH_TEST_DIE_AT_PLAN")),
  }, {
    modelId: id,
    leaveDevices: true,
    ...start,
    onProgress: ({ message, fraction }) => progress.update(message, fraction),
  });
  const engine = await unlessInterrupted(starting, interrupt.signal).finally(() => progress.clear());
  const { model, replicas = [engine] } = engine;
  const tokens = model.numPages * model.pageSize;
  progress.note(
    `radish: ${model.device.description} (${engine.deviceReason}); weights ${formatBytes(model.weightBytes)}${
      model.tp > 1 ? ` on each of ${model.tp} ranks` : ""
    } in ${model.weightFormats.join(", ")}, ` +
      `cache for ${tokens.toLocaleString("en")} tokens` +
      (model.kvDType === "auto" ? "" : ` in ${model.kvDType}`) +
      (replicas.length > 1 ? `, in each of ${replicas.length} replicas` : ""),
  );
  const wide = !formats[model.weightFormats[0]!].quantized && model.weightBytes > noticeableBytes;
  if (model.device.kind === "cpu" && options.dtype === "auto" && wide) {
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

/** "RANK:PLAN" makes that rank's worker die when it gets its n-th plan, so that tests can see what follows. */
function testHook(text: string | undefined): Pick<EngineOptions, "dieAtPlan"> {
  const match = /^(\d+):(\d+)$/.exec(text ?? "");
  return match ? { dieAtPlan: { rank: Number(match[1]), plan: Number(match[2]) } } : {};
}
