// Collects the sequences of one step into a batch plan, and remembers what has to be known when its result arrives.
//
// A plan is a handful of typed arrays (see `kernels/plan.ts`): page-table entries and token ids that the device does
// not have yet, who computes which positions, and the sampling parameters of every row whose logits are wanted.
// Adding a sequence is launching it: its lengths advance here. What is needed later (how many results are its own,
// whether the last one ends it by length) is captured now, because by then the lengths will have moved on.

import type { BatchPlan } from "../../kernels/plan.ts";
import { packSampling, plainSampler, type SampledRow, SampleFlag } from "../../kernels/sampling.ts";
import { isOnly } from "../grammar/serving/only.ts";
import type { Allocation, Request } from "./request.ts";

/** One sequence of a plan in flight, as it was at launch. */
export interface LaunchedSequence {
  /** Whose sequence it is. */
  readonly request: Request;
  /** First of its rows among the plan's sampled rows: `scores` scored ones, then, if `draws`, the drawn one. */
  readonly firstSample: number;
  /** Rows that score prompt tokens, or of which the state is wanted. */
  readonly scores: number;
  /** Whether the sequence draws a token. */
  readonly draws: boolean;
  /** Whether the plan's last forward is the last one that the request may have. */
  readonly lastByLength: boolean;
}

/** The row that draws a request's next token from the logits of `token`. */
function drawnRow(
  { params, prompt, seed, stopIds, launchedTokens, mask }: Request,
  token: number,
  sequence: number,
): SampledRow {
  // Ends are forbidden by launched tokens: the host may not have seen the last ones yet.
  // Where a grammar allows nothing else, it ends.
  const mayForbid = launchedTokens < params.minTokens && !(mask && isOnly(mask, stopIds));
  const forbidden = mayForbid ? [...stopIds] : [];
  return {
    ...params,
    token,
    sequence,
    flags: params.pooling === null ? SampleFlag.Draw : SampleFlag.Score,
    promptLength: prompt.length,
    seedLow: seed[0]!,
    seedHigh: seed[1]!,
    logprobs: params.logprobs === null ? 0 : params.logprobs + 1,
    bias: [...params.logitBias, ...forbidden.map((id) => [id, -Infinity] as const)],
    ...(mask ? { mask } : {}),
  };
}

/** The row that reports the log-probability of the prompt's token after `token`: filters play no part. */
function scoredRow({ params, prompt }: Request, token: number, sequence: number): SampledRow {
  return {
    ...plainSampler,
    token,
    sequence,
    flags: SampleFlag.Score,
    promptLength: prompt.length,
    seedLow: 0,
    seedHigh: 0,
    logprobs: params.promptLogprobs === null ? 0 : params.promptLogprobs + 1,
    bias: [],
  };
}

/** What makes a row one whose logits are kept; greedy, so that no part of the sampler is needed for it. */
const keptRow = { temperature: 0, flags: SampleFlag.Keep, logprobs: 0 };

/** Builds one plan, and is what is remembered of it while it is in flight; use once. */
export class ScheduleBatch {
  /** Ascending number of the plan. */
  readonly id: number;
  /** Tokens of the first forward, and sampled rows, so far. */
  tokens = 0;
  /** Of them, tokens of prompts. */
  prefillTokens = 0;
  /** Sequences so far. */
  readonly sequences: LaunchedSequence[] = [];
  /** Forwards in it; more than one only if every sequence decodes. */
  readonly steps: number;
  /** Whether it computes nothing, and draws from kept logits. */
  draws = false;
  readonly #pageWrites: number[] = [];
  readonly #tokenWrites: number[] = [];
  readonly #tokenIds: number[] = [];
  readonly #row: number[] = [];
  readonly #cachedLength: number[] = [];
  readonly #extendLength: number[] = [];
  readonly #samples: SampledRow[] = [];

  /** Nothing is in it. */
  constructor(id: number, steps: number) {
    this.id = id;
    this.steps = steps;
  }

  /** Sampled rows of a forward, so far. */
  get samples(): number {
    return this.#samples.length;
  }

  /** Launches one forward per step for a request whose prompt is in the cache. */
  decode(request: Request, allocation: Allocation): void {
    this.#launch(request, allocation, 1, 0, this.steps);
  }

  /** Launches the draw of a token whose logits are kept. A plan has either such draws or forwards. */
  draw(request: Request, allocation: Allocation): void {
    this.draws = true;
    request.kept = false;
    request.cachedLength--;
    this.#launch(request, allocation, 1, 0, 1);
  }

  /**
   * Launches the positions up to `end`, scoring those of the prompt whose log-probability is wanted; the next token is
   * drawn if nothing known is left after them.
   */
  prefill(request: Request, allocation: Allocation, end: number): void {
    const begin = request.cachedLength, sequence = this.sequences.length;
    const first = Math.max(begin, request.nextScore - 1);
    const scores = Math.max(0, Math.min(end, request.prompt.length - 1) - first);
    for (let i = 0; i < scores; i++) {
      this.#samples.push(scoredRow(request, this.tokens + first - begin + i, sequence));
    }
    request.nextScore += scores;
    this.prefillTokens += end - begin;
    this.#launch(request, allocation, end - begin, scores, end === request.deviceLength ? 1 : 0);
  }

  /** The plan for the executors. */
  build(): BatchPlan {
    const { id, steps, draws, sequences, samples } = this;
    let pooled = 0;
    for (const { request, scores } of sequences) if (request.params.pooling !== null) pooled += scores;
    return {
      id,
      steps,
      draws,
      pageWrites: Uint32Array.from(this.#pageWrites),
      tokenWrites: Uint32Array.from(this.#tokenWrites),
      tokenIds: Uint32Array.from(this.#tokenIds),
      row: Uint32Array.from(this.#row),
      cachedLength: Uint32Array.from(this.#cachedLength),
      extendLength: Uint32Array.from(this.#extendLength),
      sampling: packSampling(this.#samples),
      ...(pooled > 0 ? { hidden: pooled === samples ? "only" as const : "also" as const } : {}),
    };
  }

  #launch(request: Request, allocation: Allocation, extend: number, scores: number, draws: number): void {
    const { row, pages, unwrittenPages } = allocation;
    for (const index of unwrittenPages) this.#pageWrites.push(row, index, pages[index]!);
    unwrittenPages.clear();
    if (!allocation.idsWritten) {
      const ids = request.ids(request.deviceLength);
      this.#tokenWrites.push(row, 0, ids.length);
      for (const id of ids) this.#tokenIds.push(id);
      allocation.idsWritten = true;
    }
    const firstSample = this.samples - scores, sequence = this.sequences.length;
    const last = this.tokens + extend - 1;
    if (draws > 0 && request.mask === null) {
      this.#samples.push({ ...scoredRow(request, last, sequence), ...keptRow });
      request.kept = true;
      draws = 0;
    } else if (draws > 0) {
      this.#samples.push(drawnRow(request, last, sequence));
      if (request.mask) request.mask = null; // the next one needs the token that is drawn now
    }
    this.#row.push(row);
    this.#cachedLength.push(request.cachedLength);
    this.#extendLength.push(extend);
    this.tokens += extend;
    request.cachedLength += extend * this.steps;
    request.launchedTokens += draws;
    request.inFlight++;
    const isLast = draws > 0 && request.remaining === 0,
      captured = { request, firstSample, lastByLength: isLast };
    if (request.params.pooling === null) this.sequences.push({ ...captured, scores, draws: draws > 0 });
    else this.sequences.push({ ...captured, scores: scores + draws, draws: false });
  }
}
