// Offline throughput: mini-SGLang's benchmark. All requests are given at once and the clock runs until the last is
// done; ends of text are ignored and decoding is greedy, so the work is the same on every machine.
//
//   deno run -A bench/offline.ts [--model bench/shapes/qwen3-0.6b] [--kv-dtype auto] [--overlap both] [--out FILE]
//   deno run -A bench/offline.ts --model models/pocket --device cpu --requests 16 --min 10 --max 64
//
// The weights are random unless --real-weights is given: speed does not depend on them. The busy share is the time
// between a step's submission and its result, over the wall clock.

import { Engine } from "../engine/engine.ts";
import { defaultEngineOptions, type EngineOptions } from "../engine/options.ts";
import { defaultSamplingParams } from "../engine/params.ts";
import { kvDTypes } from "../kernels/kv_format.ts";
import { isGpu } from "../kernels/ops.ts";
import { choice, readOptions, whole } from "./common/arguments.ts";
import { environment } from "./common/environment.ts";
import { writeResult } from "./common/result_file.ts";
import { figure, table } from "./common/table.ts";
import { offlineWorkload, type WorkloadRequest } from "./common/workload.ts";

/** What one pass over the requests came to. */
export interface OfflineRun {
  readonly overlap: boolean;
  readonly seconds: number;
  readonly prompt_tokens: number;
  readonly output_tokens: number;
  readonly output_tokens_per_second: number;
  readonly total_tokens_per_second: number;
  /** Forwards, and how many of the plans had a part of a prompt in them. */
  readonly steps: number;
  readonly prefill_steps: number;
  /** Requests put back for lack of pages, and tokens computed for nothing. */
  readonly retractions: number;
  readonly wasted_tokens: number;
  readonly busy_share: number;
}

/**
 * Runs all requests through a fresh or flushed engine.
 * @throws {Error} when a request does not come back with exactly its number of tokens
 */
export async function runOffline(
  engine: Engine,
  requests: readonly WorkloadRequest[],
  overlap: boolean,
): Promise<OfflineRun> {
  const before = await engine.counters();
  const began = performance.now();
  const completions = await Promise.all(requests.map(({ ids, outputTokens }) =>
    engine.submit({
      input: { type: "ids", ids },
      params: { ...defaultSamplingParams, temperature: 0, maxTokens: outputTokens, ignoreEos: true },
    }).complete()
  ));
  const milliseconds = performance.now() - began;
  const after = await engine.counters();
  completions.forEach(({ finish, tokens }, i) => {
    if (finish.type === "error") throw new Error(`request ${i}: ${finish.message}`);
    const wanted = requests[i]!.outputTokens;
    if (tokens.length !== wanted) throw new Error(`request ${i}: ${tokens.length} tokens, not ${wanted}`);
  });
  const promptTokens = requests.reduce((sum, { ids }) => sum + ids.length, 0);
  const outputTokens = requests.reduce((sum, request) => sum + request.outputTokens, 0);
  return {
    overlap,
    seconds: milliseconds / 1000,
    prompt_tokens: promptTokens,
    output_tokens: outputTokens,
    output_tokens_per_second: outputTokens / milliseconds * 1000,
    total_tokens_per_second: (promptTokens + outputTokens) / milliseconds * 1000,
    steps: after.stepsTotal - before.stepsTotal,
    prefill_steps: after.prefillStepsTotal - before.prefillStepsTotal,
    retractions: after.retractionsTotal - before.retractionsTotal,
    wasted_tokens: after.wastedTokensTotal - before.wastedTokensTotal,
    busy_share: (after.busyMillisecondsTotal - before.busyMillisecondsTotal) / milliseconds,
  };
}

function readArguments() {
  const { values } = readOptions(import.meta.url, {
    options: {
      model: { type: "string", default: new URL("shapes/qwen3-0.6b", import.meta.url).pathname },
      "real-weights": { type: "boolean", default: false },
      device: { type: "string", default: "auto" },
      "kv-dtype": { type: "string", default: "auto" },
      threads: { type: "string" },
      requests: { type: "string", default: "256" },
      min: { type: "string", default: "100" },
      max: { type: "string", default: "1024" },
      seed: { type: "string", default: "0" },
      overlap: { type: "string", default: "both" },
      "max-running-requests": { type: "string" },
      "max-prefill-tokens": { type: "string" },
      "num-pages": { type: "string" },
      out: { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  const optional = (name: "threads" | "max-running-requests" | "max-prefill-tokens" | "num-pages") => {
    const text = values[name];
    return text === undefined ? null : whole(text, name);
  };
  const minTokens = whole(values.min, "min"), maxTokens = whole(values.max, "max", minTokens);
  const requests = whole(values.requests, "requests");
  const engine: EngineOptions = {
    ...defaultEngineOptions,
    modelDir: values.model,
    device: choice(values.device, "device", ["auto", "cuda", "webgpu", "cpu"]),
    kvDType: choice(values["kv-dtype"], "kv-dtype", kvDTypes),
    threads: optional("threads"),
    contextLength: 2 * maxTokens,
    maxQueuedRequests: requests,
    maxRunningRequests: optional("max-running-requests"),
    maxPrefillTokens: optional("max-prefill-tokens"),
    numPages: optional("num-pages"),
    dummyWeights: !values["real-weights"],
    skipTokenizer: true,
  };
  const overlap = choice(values.overlap, "overlap", ["on", "off", "both"]);
  return {
    engine,
    workload: { requests, minTokens, maxTokens, seed: whole(values.seed, "seed", 0) },
    overlaps: overlap === "both" ? [true, false] : [overlap === "on"],
    out: values.out ?? null,
    json: values.json,
  };
}

async function main(): Promise<void> {
  const { engine: options, workload, overlaps, out, json } = readArguments();
  const where = await environment();
  const runs: OfflineRun[] = [];
  let about: Record<string, unknown> = {};
  for (const [i, overlap] of overlaps.entries()) {
    await using engine = await Engine.start({ ...options, overlap }, {
      warmUp: true,
      leaveDevices: i === overlaps.length - 1,
    });
    const { model } = engine;
    const { vocabSize } = model.config;
    // Small requests first, for caches, compilers, and a GPU's clock, which takes a second of work to rise.
    const end = performance.now() + (isGpu(model.device) ? 1500 : 0);
    const small = { ...workload, requests: 2, maxTokens: workload.minTokens, seed: 1, vocabSize };
    do await runOffline(engine, offlineWorkload(small), overlap); while (performance.now() < end);
    await engine.flush();
    runs.push(await runOffline(engine, offlineWorkload({ ...workload, vocabSize }), overlap));
    about = {
      model: model.id,
      device: model.device.description,
      weight_bytes: model.weightBytes,
      cache_tokens: model.numPages * model.pageSize,
      max_running_requests: model.maxRunningRequests,
    };
  }
  const result = { kind: "offline", environment: where, ...about, workload, runs };
  if (out !== null) await writeResult(out, result);
  if (json) console.log(JSON.stringify(result, null, 2));
  else print(result.workload, about, runs);
}

function print(
  workload: { requests: number },
  about: Record<string, unknown>,
  runs: readonly OfflineRun[],
): void {
  const { prompt_tokens, output_tokens } = runs[0]!;
  console.log(
    `${about.model} on ${about.device}: ${workload.requests} requests, ${prompt_tokens} tokens in, ${output_tokens} out\n`,
  );
  console.log(table(
    ["overlap", "seconds", "output tokens/s", "all tokens/s", "steps", "with prompts", "busy", "retracted"],
    runs.map((run) => [
      run.overlap ? "on" : "off",
      figure(run.seconds),
      figure(run.output_tokens_per_second),
      figure(run.total_tokens_per_second),
      figure(run.steps),
      figure(run.prefill_steps),
      `${(run.busy_share * 100).toFixed(1)} %`,
      figure(run.retractions),
    ]),
  ));
}

if (import.meta.main) {
  await main();
  Deno.exit(); // the last engine's devices are left to the end of the process
}
