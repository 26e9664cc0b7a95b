// `radish bench`: how fast a model is on this machine — prompts at several lengths, answers at several numbers of
// requests at once — through the same engine that serves.

import { defaultSamplingParams } from "../../engine/params.ts";
import { isGpu } from "../../kernels/ops.ts";
import type { benchOptions, Parsed } from "./command_options.ts";
import { printLine } from "./output.ts";
import { type Session, startSession } from "./session.ts";

/** One line of the result. */
interface Measurement {
  readonly what: "prefill" | "decode";
  /** Prompt tokens, or requests at once. */
  readonly size: number;
  readonly tokens_per_second: number;
  /** Of a prompt to its first token; of a decode step. */
  readonly milliseconds: number;
}

/** Runs the command. */
export async function bench({ own, ...options }: Parsed<typeof benchOptions>): Promise<number> {
  const { prompts, batches, context, tokens, repeat } = own;
  await using session = await startSession(options, true);
  const { model } = session.engine;
  const room = Math.min(model.contextLength, model.numPages * model.pageSize);
  const measurements: Measurement[] = [];
  const random = tokenSource(model.config.vocabSize);

  if (isGpu(model.device)) {
    await raiseClock(() => prefill(session, random(Math.min(context, room - 1))));
  }
  const measure = async (
    what: Measurement["what"],
    size: number,
    run: () => Promise<number>,
  ) => {
    const milliseconds = median(await repeated(repeat, run));
    measurements.push({ what, size, tokens_per_second: size / milliseconds * 1000, milliseconds });
    session.progress.update("measuring", measurements.length / (prompts.length + batches.length));
  };
  for (const length of prompts.filter((n) => n < room)) {
    await measure("prefill", length, () => prefill(session, random(length)));
  }
  const fitting = (n: number) =>
    n <= model.maxRunningRequests && n * (context + tokens) <= model.numPages * model.pageSize;
  for (const batch of batches.filter(fitting)) {
    await measure("decode", batch, () => decode(session, batch, random, context, tokens));
  }
  session.progress.clear();
  const left = prompts.length + batches.length - measurements.length;
  if (left > 0) {
    session.progress.note(
      `radish: ${left} sizes left out: they do not fit the context, the rows or the cache`,
    );
  }
  const about = {
    model: model.id,
    device: model.device.description,
    load_milliseconds: Math.round(session.loadMilliseconds),
    weight_bytes: model.weightBytes,
    rank_weight_bytes: model.rankWeightBytes,
    cache_tokens: model.numPages * model.pageSize,
    context,
    tokens,
    repeat,
  };
  if (own.json) printLine(JSON.stringify({ ...about, measurements }, null, 2));
  else print(about, measurements);
  return 0;
}

function print(
  about: { model: string; device: string; context: number },
  measurements: readonly Measurement[],
): void {
  printLine(`${about.model} on ${about.device}, context ${about.context}\n`);
  printLine("            size   tokens/s         ms");
  for (const { what, size, tokens_per_second, milliseconds } of measurements) {
    const rate = tokens_per_second.toFixed(tokens_per_second < 100 ? 1 : 0);
    printLine(
      `${what.padEnd(8)} ${String(size).padStart(7)} ${rate.padStart(10)} ${
        milliseconds.toFixed(2).padStart(10)
      }`,
    );
  }
  printLine(
    "\nsize: prompt tokens (prefill) or requests at once (decode); ms: to the first token, or per step",
  );
}

/** Milliseconds from a prompt to its first token. */
async function prefill({ engine }: Session, ids: Uint32Array): Promise<number> {
  const began = performance.now();
  const params = { ...defaultSamplingParams, temperature: 0, maxTokens: 1, ignoreEos: true };
  const { finish } = await engine.submit({ input: { type: "ids", ids }, params }).complete();
  if (finish.type === "error") throw new Error(finish.message);
  return performance.now() - began;
}

/** Short answers may end before the last one has begun; another try will do. */
const mostTries = 5;

/** Milliseconds per step while `batch` requests decode together. */
async function decode(
  session: Session,
  batch: number,
  random: (length: number) => Uint32Array,
  context: number,
  tokens: number,
): Promise<number> {
  for (let i = 0; i < mostTries; i++) {
    const milliseconds = await decodeTogether(session, batch, random, context, tokens);
    if (milliseconds !== null) return milliseconds;
  }
  throw new Error(`answers of ${tokens} tokens are too short to time ${batch} at once; give --tokens more`);
}

/**
 * From when all have begun to when the first ends; null if that is no time. The prompts are put into the prefix cache
 * first, so that they begin together.
 */
async function decodeTogether(
  { engine }: Session,
  batch: number,
  random: (length: number) => Uint32Array,
  context: number,
  tokens: number,
): Promise<number | null> {
  const params = { ...defaultSamplingParams, temperature: 0, maxTokens: tokens, ignoreEos: true };
  const inputs = Array.from({ length: batch }, () => ({ type: "ids" as const, ids: random(context) }));
  await engine.generate(inputs, { ...params, maxTokens: 1 });
  let waiting = batch, beganAt = 0, endedAt = Infinity, after = 0;
  await Promise.all(inputs.map(async (input) => {
    let count = 0;
    for await (const delta of engine.submit({ input, params })) {
      if (delta.finish?.type === "error") throw new Error(delta.finish.message);
      const begins = count === 0 && delta.tokens.length > 0;
      count += delta.tokens.length;
      // What comes with the clock's start was computed before it.
      if (begins && --waiting === 0) beganAt = performance.now();
      else if (waiting === 0 && endedAt === Infinity) after += delta.tokens.length;
      if (delta.finish) endedAt = Math.min(endedAt, performance.now());
    }
    if (count !== tokens) throw new Error(`an answer of ${tokens} tokens came back with ${count}`);
  }));
  return after === 0 ? null : (endedAt - beganAt) * batch / after;
}

/** A GPU that was idle while the model loaded needs about a second of work before it runs at its full clock. */
async function raiseClock(work: () => Promise<unknown>): Promise<void> {
  const end = performance.now() + 1500;
  while (performance.now() < end) await work();
}

async function repeated(times: number, measure: () => Promise<number>): Promise<number[]> {
  await measure(); // the first run is for caches and clocks
  const results: number[] = [];
  for (let i = 0; i < times; i++) results.push(await measure());
  return results;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}

/** Random prompts, different each time so that the prefix cache cannot help. */
function tokenSource(vocabSize: number): (length: number) => Uint32Array {
  let state = 12345;
  return (length) =>
    Uint32Array.from({ length }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor(state / 2 ** 32 * vocabSize);
    });
}
