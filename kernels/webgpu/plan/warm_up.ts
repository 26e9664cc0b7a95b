// Runs every kind of step once before a server takes requests, so that no pipeline is compiled while serving: one
// number of tokens for every shape of kernel, prompts and decoding, short and long contexts, greedy and with every
// sampling option. A test holds this against the kernels: it lets random steps follow and counts what they compile.
//
// The steps use row 0, whose page-table entries all still point at the dummy page, so nothing has to be undone.

import type { StateSpec } from "../../ops.ts";
import type { BatchPlan } from "../../plan.ts";
import { greedySampler, packSampling, type SampledRow, SampleFlag, type Sampler } from "../../sampling.ts";

/** Uses every part of the sampler. */
const fullSampler: Sampler = {
  temperature: 0.8,
  topK: 20,
  topP: 0.9,
  minP: 0.05,
  presencePenalty: 0.1,
  frequencyPenalty: 0.1,
  repetitionPenalty: 1.1,
};

/** What the plans depend on. */
type Sizes = Pick<StateSpec, "maxRows" | "maxTokens" | "maxSamples" | "contextLength" | "vocabSize">;

/** A number of tokens from each range in which every kernel keeps its shape; the largest step comes on top. */
const sizes = [1, 2, 3, 5, 9, 17, 33, 65, 129, 257, 513];

/** Positions behind which decoding is with the kernels for contexts of middling length, and certainly for long ones. */
const middleContext = 200, longContext = 1024;

/** More tokens than a sequence may have to be decoded one by one. */
const promptTokens = 5;

/** A software driver takes seconds for a large step, and its kernels change no more from here on. */
const mostSoftwareTokens = 65;

/** The plans, smallest first; `software` says that the device is a software driver, `later` that it draws later. */
export function* warmUpPlans(state: Sizes, software: boolean, later: boolean): Generator<BatchPlan> {
  const mask = new Uint32Array(Math.ceil(state.vocabSize / 32)).fill(0xffffffff);
  const most = Math.min(software ? mostSoftwareTokens : Infinity, state.maxTokens);
  // The last position of all is left free, for the token that is drawn.
  const room = state.contextLength - 1;
  const [middle, long] = [middleContext, longContext].map((cached) =>
    Math.max(0, Math.min(cached, room - promptTokens))
  ) as [number, number];
  if (later) {
    yield makePlan([1], 0, null, SampleFlag.Keep);
    yield { ...makePlan([1], 0, mask), draws: true };
  }
  for (const n of [...sizes.filter((size) => size < most), most]) {
    if (n <= Math.min(state.maxRows, state.maxSamples)) {
      const ones = new Array<number>(n).fill(1);
      yield makePlan(ones, 0, null);
      yield makePlan(ones, 0, mask);
      yield makePlan(ones, middle, null);
      yield makePlan(ones, long, null);
    }
    if (n > 1) yield makePlan(chunks(n, room), 0, null);
    // Beside a prompt tokens are decoded by another kernel than alone.
    if (n < state.maxRows && n + promptTokens <= state.maxTokens && promptTokens <= room) {
      const mixed = [...new Array<number>(n).fill(1), promptTokens];
      yield makePlan(mixed, 0, null);
      yield makePlan(mixed, long, null);
    }
  }
  // The last tokens of a long prompt, where there is only one row.
  yield makePlan(chunks(Math.min(2, most), room), long, null);
}

/** A prompt of n tokens as sequences no longer than the context. */
function chunks(n: number, most: number): number[] {
  const lengths: number[] = [];
  for (let left = n; left > 0; left -= most) lengths.push(Math.min(left, most));
  return lengths;
}

/** Sequences that each have `cached` positions, greedy or, with a mask, with every option of the sampler. */
function makePlan(
  extendLengths: readonly number[],
  cached: number,
  mask: Uint32Array | null,
  flags: number = SampleFlag.Draw,
): BatchPlan {
  const decode = extendLengths.every((n) => n === 1);
  let end = 0;
  const token = extendLengths.map((n) => (end += n) - 1);
  return {
    id: 0,
    steps: 1,
    pageWrites: new Uint32Array(),
    tokenWrites: new Uint32Array(),
    tokenIds: new Uint32Array(),
    row: new Uint32Array(extendLengths.length),
    cachedLength: new Uint32Array(extendLengths.length).fill(cached),
    extendLength: Uint32Array.from(extendLengths),
    sampling: packSampling(
      sampledRows(decode ? token : token.slice(-1), decode ? 0 : token.length - 1, mask, flags),
    ),
  };
}

function sampledRows(
  tokens: readonly number[],
  firstSequence: number,
  mask: Uint32Array | null,
  flags: number,
): SampledRow[] {
  return tokens.map((token, i) => ({
    ...(mask ? fullSampler : greedySampler),
    token,
    sequence: firstSequence + i,
    flags,
    promptLength: 0,
    seedLow: 0,
    seedHigh: 0,
    logprobs: mask ? 6 : 0,
    bias: mask && i === 0 ? [[0, 1]] : [],
    ...(mask && i === 0 ? { mask } : {}),
  }));
}
