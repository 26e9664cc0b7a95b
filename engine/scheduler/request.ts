// One request on its way through the scheduler: what was asked, how far it is, and what it holds.
//
// Two clocks run here. Lengths (`cachedLength`, `launchedTokens`) advance when a forward is launched, before its
// result exists; `output` grows when the result has come back, one or two plans later. Nothing that ends a request
// may be read off the launch-time lengths when a result is dealt with: they are ahead of it.

import type { PrefixHandle } from "../kvcache/cache.ts";
import type { RequestSpec } from "../messages.ts";
import type { FinishReason, SamplingParams, TokenLogprob } from "../params.ts";
import { promptProblem } from "../tokenizer/prompt_check.ts";
import type { SchedulerConfig } from "./config.ts";

/** What a running request holds on the device; all of it is taken at admission and given back at once. */
export interface Allocation {
  /** Row of token pool and page table. */
  readonly row: number;
  /** Physical page of each page index: first those of `prefix`, then the request's own. */
  readonly pages: number[];
  /** Cached prefix that the first pages belong to. */
  prefix: PrefixHandle;
  /** Page-table entries that the device does not know yet, as page indices. */
  readonly unwrittenPages: Set<number>;
  /** Whether the row's ids stand in the token pool. */
  idsWritten: boolean;
}

/** State of one request. The scheduler's parts change it; this class only knows how its numbers relate. */
export class Request {
  /** Unique in the engine. */
  readonly id: string;
  /** Its token ids. */
  readonly prompt: Uint32Array;
  /** How to sample, and when to end. */
  readonly params: SamplingParams;
  /** Shares prefixes only with requests of the same salt. */
  readonly salt: string;
  /** Whose request it is. */
  readonly client: string;
  /** Two words; drawn once, so that a retracted request continues with the numbers it began with. */
  readonly seed: Uint32Array;
  /** Output tokens it may have at most. */
  readonly maxNewTokens: number;
  /** Ids that end the output. Those outside the vocabulary are left out: they are never drawn. */
  readonly stopIds: ReadonlySet<number>;

  /** Output tokens the host has seen. */
  readonly output: number[] = [];
  /** Output tokens whose forward has been launched; at least `output.length`. */
  launchedTokens = 0;
  /** While resident: positions whose keys and values are in pages, or will be when all that is launched has run. */
  cachedLength = 0;
  /** Tokens that its next one may be; null while that is not known yet, undefined where there is no grammar. */
  mask: Uint32Array | null | undefined;
  /** Whether the device keeps the logits of its next token, until the mask is there. */
  kept = false;
  /** Plans sent, and not yet answered, that contain this request. */
  inFlight = 0;
  /** What it holds; null while it waits. */
  allocation: Allocation | null = null;

  /** Its finish has been decided and told; results that still come are dropped. */
  ended = false;
  /** Chosen to give up its pages once nothing of it is in flight. */
  retracting = false;

  /** Tokens found in the cache at first admission; null before. */
  cachedTokens: number | null = null;
  /**
   * First prompt position whose log-probability has not been launched, or before which a state is summed up; the
   * prompt's length when none is wanted.
   */
  nextScore: number;
  /** Prompt log-probabilities received so far; null when not asked for, or when already handed out. */
  promptLogprobs: (TokenLogprob | null)[] | null;
  /** Sum of the states whose mean is wanted, so far. */
  pooled: Float64Array | null = null;

  /** `maxNewTokens` comes from `checkRequest`. */
  constructor(
    spec: RequestSpec,
    /** Ascending in order of arrival: age, for first come, first served. */
    readonly arrival: number,
    maxNewTokens: number,
    config: SchedulerConfig,
  ) {
    this.id = spec.id;
    this.prompt = spec.ids;
    this.params = spec.params;
    this.salt = spec.salt;
    this.client = spec.client;
    this.seed = seedWords(spec.params.seed);
    // An embedding counts as one token that is never told.
    this.maxNewTokens = spec.params.pooling === null ? maxNewTokens : 1;
    const stopIds = [
      ...spec.params.stopTokenIds,
      ...(spec.params.ignoreEos && spec.params.grammar === null ? [] : config.eosIds),
    ];
    this.stopIds = new Set(stopIds.filter((id) => id < config.vocabSize));
    const { promptLogprobs, promptLogprobsStart, pooling } = spec.params;
    const scored = promptLogprobs !== null;
    this.nextScore = scored || pooling === "mean"
      ? Math.min(Math.max(promptLogprobsStart, 1), spec.ids.length)
      : spec.ids.length;
    // Nothing precedes the first token, so it has no probability.
    this.promptLogprobs = scored ? (promptLogprobsStart <= 0 ? [null] : []) : null;
  }

  /** Tokens known to the device. */
  get deviceLength(): number {
    return this.prompt.length + this.launchedTokens;
  }

  /** Output tokens not launched yet. */
  get remaining(): number {
    return this.maxNewTokens - this.launchedTokens;
  }

  /** Whether a next step may contain it. */
  get runnable(): boolean {
    return !this.ended && !this.retracting && this.remaining > 0;
  }

  /**
   * Most positions a cached prefix may cover: the last token's logits are needed, and those of every token in front
   * of a position whose log-probability is wanted.
   */
  get matchLimit(): number {
    const last = this.deviceLength - 1;
    return this.nextScore < this.prompt.length ? Math.min(last, this.nextScore - 1) : last;
  }

  /** The first `length` ids of prompt and output, as far as the host knows them. */
  ids(length: number): Uint32Array {
    if (length <= this.prompt.length) return this.prompt.subarray(0, length);
    const ids = new Uint32Array(Math.min(length, this.prompt.length + this.output.length));
    ids.set(this.prompt);
    for (let i = this.prompt.length; i < ids.length; i++) ids[i] = this.output[i - this.prompt.length]!;
    return ids;
  }
}

/** Seed words of a number: the same for the same number, different for neighbours; random where there is none. */
function seedWords(seed: number | null): Uint32Array {
  return seed === null
    ? crypto.getRandomValues(new Uint32Array(2))
    : Uint32Array.of(seed, Math.floor(seed / 2 ** 32));
}

/** Number of tokens a request may generate, or why it is refused. The last line of defence of the loop behind it. */
export function checkRequest(spec: RequestSpec, config: SchedulerConfig): number | FinishReason {
  const { ids, params: { maxTokens, logitBias } } = spec;
  const refuse = (code: "invalid" | "too_long", message: string) =>
    ({ type: "error", code, message }) as const;
  const problem = promptProblem(ids, maxTokens, config);
  if (problem !== null) return problem;
  for (const [id] of logitBias) {
    if (!(id >= 0 && id < config.vocabSize)) {
      return refuse("invalid", `logit_bias names token ${id}; the vocabulary has ${config.vocabSize}`);
    }
  }
  if (maxTokens !== null && !(Number.isInteger(maxTokens) && maxTokens > 0)) {
    return refuse("invalid", `max_tokens is ${maxTokens}; it must be a whole number of at least 1`);
  }
  const room = Math.min(config.contextLength, config.numPages * config.pageSize);
  if (ids.length + (maxTokens ?? 1) > room) {
    const beside = maxTokens === null || ids.length >= room ? "" : ` and max_tokens is ${maxTokens}`;
    return refuse(
      "too_long",
      `The key/value pool holds ${room} tokens, output included, but the prompt has ${ids.length}${beside}`,
    );
  }
  return maxTokens ?? room - ids.length;
}
