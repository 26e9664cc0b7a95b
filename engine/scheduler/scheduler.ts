// The scheduler's loop: which requests compute what in the next step, and what becomes of the results.
//
// Continuous batching (Yu et al. 2022, "Orca") with SGLang's overlap scheduling: since token ids stay on the device,
// plan i + 1 is made and sent before the result of plan i is known. What the result then ends has run one plan too
// many; those tokens are dropped. An ended request keeps its row, pages and lock until no plan in flight contains it.
//
// Each concern has its own file: `prefill` (queue, admission, chunks), `decode` (running requests), `table` (rows),
// `cache` (pages and prefixes), `pace` (step sizes), `plan_builder` and `results` (to and from the executor). This
// one moves requests between them. It is driven from outside: `receive` and `complete` take messages in, `advance`
// sends what has become possible.

import type { TokenUpdate, ToScheduler } from "../messages.ts";
import type { FinishReason } from "../params.ts";
import type { StepResult } from "../../kernels/plan.ts";
import { CacheManager } from "./cache.ts";
import type { SchedulerConfig, SchedulerCounters } from "./config.ts";
import { Counters } from "./counters.ts";
import { DecodeManager } from "./decode.ts";
import type { SchedulerIo } from "./io.ts";
import { Pace } from "./pace.ts";
import { type LaunchedPlan, PlanBuilder } from "./plan_builder.ts";
import { PrefillManager } from "./prefill.ts";
import { checkRequest, Request, type RequestSpec, type Residency, seedWords } from "./request.ts";
import { endOf, takeResult } from "./results.ts";
import { RowTable } from "./table.ts";

/** Most plans the executor may have unanswered when it works ahead. */
const overlapDepth = 2;

/** Seed of a request that brings none. */
function randomSeed(): [number, number] {
  const [low, high] = crypto.getRandomValues(new Uint32Array(2));
  return [low!, high!];
}

/** Decides for all ranks; they only do what its plans say. */
export class Scheduler {
  readonly #config: SchedulerConfig;
  readonly #io: SchedulerIo;
  readonly #rows: RowTable;
  readonly #cache: CacheManager;
  readonly #prefill: PrefillManager;
  readonly #decode: DecodeManager;
  readonly #pace: Pace;
  readonly #counters = new Counters();
  /** Requests that have not ended. */
  readonly #requests = new Map<string, Request>();
  /** Plans without an answer, oldest first. */
  readonly #inFlight: LaunchedPlan[] = [];
  #lastPlan = 0;
  #arrivals = 0;
  /** Whether the executor has been told to read all that is in flight. */
  #drained = true;
  /** News for the detokenizer, sent once the device has its next plan. */
  #updates: TokenUpdate[] = [];

  /** Sends through `io`; waits to be driven. */
  constructor(config: SchedulerConfig, io: SchedulerIo) {
    this.#config = config;
    this.#io = io;
    // Each running request takes one token and one sampled row of a step when it decodes: all must fit.
    this.#rows = new RowTable(
      Math.min(config.maxRunningRequests, config.maxStepTokens, config.maxStepSamples),
    );
    this.#cache = new CacheManager(config, (pages) => {
      if (config.poisonFreedPages) io.toExecutors({ type: "poison", pages: Uint32Array.from(pages) });
    });
    this.#prefill = new PrefillManager(config, this.#rows, this.#cache);
    this.#decode = new DecodeManager(this.#cache);
    this.#pace = new Pace(config);
  }

  /** Takes in a message; `advance` acts on it. */
  receive(message: ToScheduler): void {
    switch (message.type) {
      case "request":
        return this.#arrive(message);
      case "abort": {
        const request = this.#requests.get(message.id);
        // An abort that crosses the end on its way is no news.
        if (request === undefined) return;
        this.#counters.aborted++;
        this.#updates.push(endOf(request, { type: "abort" }));
        return this.#end(request);
      }
      case "stopped": {
        const request = this.#requests.get(message.id);
        return request && this.#end(request);
      }
    }
  }

  /** Takes in the result of the oldest plan in flight; `advance` acts on it. Throws if it is another's. */
  complete(result: StepResult): void {
    const plan = this.#inFlight.shift();
    if (plan?.id !== result.id) throw new Error(`result ${result.id} came instead of ${plan?.id ?? "none"}`);
    this.#pace.observe(plan.prefillTokens, plan.steps, result.milliseconds);
    let tokens = 0;
    for (const sequence of plan.sequences) {
      const { request } = sequence;
      request.inFlight--;
      const update = request.ended ? null : takeResult(result, plan, sequence);
      const taken = update?.tokens.length ?? 0;
      tokens += taken;
      if (sequence.draws) this.#counters.wastedTokens += plan.steps - taken;
      if (update !== null) this.#updates.push(update);
      if (update?.finish) this.#end(request);
      else this.#settle(request);
    }
    this.#cache.reclaim(plan.id);
    this.#counters.finishStep(tokens, plan.steps, plan.prefillTokens, result.milliseconds);
  }

  /** Sends the plans that can be made now, and the news. */
  advance(): void {
    const depth = this.#config.overlap ? overlapDepth : 1;
    while (this.#inFlight.length < depth && this.#launch());
    // With room for another plan but nothing to put in it, the executor would wait for us and we for it.
    if (!this.#drained && this.#inFlight.length < overlapDepth) {
      this.#io.toExecutors({ type: "drain" });
      this.#drained = true;
    }
    if (this.#updates.length > 0) {
      this.#io.toDetokenizer({ type: "updates", updates: this.#updates });
      this.#updates = [];
    }
  }

  /** Empties the prefix cache; refused (false) while there are requests. */
  flush(): boolean {
    if (this.#requests.size > 0 || this.#inFlight.length > 0) return false;
    this.#cache.flush();
    return true;
  }

  /** Totals and the present state. */
  counters(): SchedulerCounters {
    const { pageSize, numPages } = this.#config;
    const { freePages, lockedTokens, evictableTokens, evictedTokens } = this.#cache;
    return {
      runningRequests: this.#rows.usedRows,
      queuedRequests: this.#prefill.queued,
      freePages,
      totalPages: numPages,
      pageSize,
      usedTokens: (numPages - freePages) * pageSize - evictableTokens,
      lockedTokens,
      evictableTokens,
      promptTokensTotal: this.#counters.promptTokens,
      cachedTokensTotal: this.#prefill.cachedTokens,
      generatedTokensTotal: this.#counters.generatedTokens,
      requestsTotal: this.#counters.requests,
      abortedTotal: this.#counters.aborted,
      evictedTokensTotal: evictedTokens,
      retractionsTotal: this.#counters.retractions,
      stepsTotal: this.#counters.steps,
      prefillStepsTotal: this.#counters.prefillSteps,
      prefillTokensTotal: this.#counters.prefillTokens,
      wastedTokensTotal: this.#counters.wastedTokens,
      generationThroughput: this.#counters.throughput,
      busyMillisecondsTotal: this.#counters.busyMilliseconds,
      stepMilliseconds: this.#counters.stepMilliseconds,
    };
  }

  /** Checks that every page has one owner, and the cache's own sums. Throws otherwise. For tests. */
  verify(): void {
    const residencies: Residency[] = [];
    for (const { residency } of this.#rows.holders()) residencies.push(residency!);
    this.#cache.verify(residencies);
  }

  #arrive(spec: RequestSpec): void {
    const { id, ids, params } = spec;
    this.#io.toDetokenizer({ type: "start", id, promptIds: ids, params });
    this.#counters.requests++;
    const maxNewTokens = this.#checkArrival(spec);
    if (typeof maxNewTokens !== "number") {
      this.#updates.push(endOf({ id, cachedTokens: null }, maxNewTokens));
      return;
    }
    this.#counters.promptTokens += ids.length;
    const seed = params.seed === null ? randomSeed() : seedWords(params.seed);
    const request = new Request(spec, this.#arrivals++, seed, maxNewTokens, this.#config);
    this.#requests.set(id, request);
    this.#prefill.enqueue(request);
  }

  #checkArrival(spec: RequestSpec): number | FinishReason {
    if (this.#prefill.queued >= this.#config.maxQueuedRequests) {
      const message = `${this.#prefill.queued} requests are waiting already; try again later`;
      return { type: "error", code: "queue_full", message };
    }
    return checkRequest(spec, this.#config);
  }

  /** Makes and sends the next plan; false if there is nothing to compute. */
  #launch(): boolean {
    const ready = this.#decode.ready();
    const steps = this.#decode.steps(ready, this.#prefill.busy ? 1 : this.#pace.burst());
    const builder = new PlanBuilder(this.#lastPlan + 1, steps);
    this.#decode.schedule(builder, ready, steps, () => this.#makeRoom());
    const { maxStepTokens, maxStepSamples } = this.#config;
    const budget = {
      tokens: Math.min(this.#pace.chunk(builder.tokens), maxStepTokens - builder.tokens),
      samples: maxStepSamples - builder.samples,
    };
    for (const request of this.#prefill.schedule(builder, budget)) this.#decode.add(request);
    if (builder.sequences.length === 0) return false;
    const { plan, launched } = builder.build();
    this.#lastPlan = plan.id;
    this.#inFlight.push(launched);
    this.#io.toExecutors({ type: "plan", plan });
    this.#drained = false;
    return true;
  }

  /** Frees pages by retracting the youngest request. False if pages are on their way and it is better to wait. */
  #makeRoom(): boolean {
    if (this.#cache.hasRetired) return false;
    let youngest: Request | undefined;
    for (const request of this.#rows.holders()) {
      if (!request.runnable) return false;
      if (youngest === undefined || request.arrival > youngest.arrival) youngest = request;
    }
    this.#counters.retractions++;
    this.#prefill.remove(youngest!);
    this.#decode.remove(youngest!);
    youngest!.retracting = true;
    this.#settle(youngest!);
    return youngest!.residency === null;
  }

  /** The request's finish has been decided: nothing of it will be launched or told any more. */
  #end(request: Request): void {
    request.ended = true;
    this.#requests.delete(request.id);
    this.#prefill.remove(request);
    this.#decode.remove(request);
    this.#settle(request);
  }

  /** Takes back what an ended or retracted request holds, once no plan in flight contains it. */
  #settle(request: Request): void {
    const { residency } = request;
    if (residency === null || request.inFlight > 0 || !(request.ended || request.retracting)) return;
    this.#cache.release(request, residency);
    this.#rows.release(residency.row);
    request.residency = null;
    if (request.ended) return;
    request.retracting = false;
    this.#prefill.enqueue(request);
  }
}
