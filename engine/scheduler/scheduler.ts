// The scheduler's loop: which requests compute what in the next step, and what becomes of the results.
//
// Continuous batching (Yu et al. 2022, "Orca") with SGLang's overlap scheduling: since token ids stay on the device,
// plan i + 1 is made and sent before the result of plan i is known. What the result then ends has run one plan too
// many; those tokens are dropped. An ended request keeps its row, pages and lock until no plan in flight contains it.
//
// Each concern has its own file: `prefill` (queue, admission, chunks), `decode` (running requests), `table` (rows),
// `cache` (pages and prefixes), `pace` (step sizes), `schedule_batch` and `batch_result` (to and from the executor).
// This one moves requests between them; `eventLoop` is the whole of it.

import type { RequestSpec, TokenUpdate } from "../messages.ts";
import type { FinishReason } from "../params.ts";
import type { StepResult } from "../../kernels/plan.ts";
import { CacheManager } from "./cache.ts";
import type { SchedulerConfig, SchedulerCounters, SchedulerState } from "./config.ts";
import { GrammarManager } from "../grammar/serving/manager.ts";
import type { FromGrammar } from "../grammar/serving/messages.ts";
import { Counters } from "./counters.ts";
import { DecodeManager } from "./decode.ts";
import { mostShown, stateOf } from "./inspect.ts";
import type { Inbox, SchedulerInput, SchedulerIo } from "./io.ts";
import { Pace } from "./pace.ts";
import { ScheduleBatch } from "./schedule_batch.ts";
import { PrefillManager } from "./prefill.ts";
import { checkRequest, Request } from "./request.ts";
import { endOf, processSequence } from "./batch_result.ts";
import { spareRows } from "../workers/fairness.ts";
import { RowTable } from "./table.ts";

/** Most plans the executor may have unanswered when it works ahead. */
const overlapDepth = 2;

/** Decides for all ranks; they only do what its plans say. */
export class Scheduler {
  readonly #config: SchedulerConfig;
  readonly #io: SchedulerIo;
  readonly #rows: RowTable;
  readonly #cache: CacheManager;
  readonly #prefill: PrefillManager;
  readonly #decode: DecodeManager;
  readonly #pace: Pace;
  readonly #grammars: GrammarManager<Request>;
  readonly #counters = new Counters();
  /** Requests that have not ended. */
  readonly #requests = new Map<string, Request>();
  /** Plans without an answer, oldest first. */
  readonly #inFlight: ScheduleBatch[] = [];
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
      Math.min(config.maxRunningRequests + spareRows, config.maxStepTokens, config.maxStepSamples),
    );
    this.#cache = new CacheManager(config, this.#counters, (pages) => {
      if (config.poisonFreedPages) io.toExecutors({ type: "poison", pages: Uint32Array.from(pages) });
    });
    this.#prefill = new PrefillManager(config, this.#counters, this.#rows, this.#cache);
    this.#decode = new DecodeManager(this.#cache);
    this.#pace = new Pace(config);
    this.#grammars = new GrammarManager((message) => io.toGrammar(message));
  }

  /** Receive, process the last result, schedule, forward, for ever (SGLang's `event_loop_overlap`). */
  async eventLoop(inbox: Inbox): Promise<never> {
    for (;;) {
      const { messages, results } = await inbox.receive();
      for (const message of messages) this.processInput(message);
      for (const result of results) this.processBatchResult(result);
      await null; // what is said to the grammar worker goes out first: the device waits for its masks
      this.runNextBatches();
    }
  }

  /** Launches batches while the executor has room for one and there is something to compute; then sends the news. */
  runNextBatches(): void {
    const { overlap, drawLater } = this.#config, later = overlap && drawLater && this.#grammars.active;
    const depth = overlap && (later || !this.#pace.slow) ? overlapDepth : 1;
    const forwards = () => this.#inFlight.filter(({ draws }) => !draws).length;
    let waiting = false;
    while (forwards() < depth) {
      // Without the masks that are about to come, their requests would miss a step.
      waiting = (this.#grammars.due && (depth === 1 || this.#inFlight.length > 0)) ||
        this.#inFlight.some(({ draws }) => draws);
      if (waiting) break;
      this.#drawKept();
      const batch = this.#getNextBatch(later);
      if (batch === null) break;
      this.#runBatch(batch);
    }
    // With room for another plan but nothing to put in it, the executor would wait for us and we for it; unless a draw
    // is about to come, which has to stand behind the forward that runs.
    if (!this.#drained && forwards() < overlapDepth && !(waiting && later)) {
      this.#io.toExecutors({ type: "drain" });
      this.#drained = true;
    }
    if (this.#updates.length > 0) {
      this.#io.toDetokenizer({ type: "updates", updates: this.#updates });
      this.#updates = [];
    }
  }

  /** Takes in a message from tokenizer or detokenizer. */
  processInput(message: SchedulerInput): void {
    if (message.type === "request") return this.#arrive(message);
    if ("key" in message) return this.#takeMask(message);
    const request = this.#requests.get(message.id);
    if (request === undefined) return; // it ended while the message was on its way
    if (message.type === "abort") {
      this.#counters.totals.abortedTotal++;
      this.#updates.push(endOf(request, { type: "abort" }));
    }
    this.#end(request);
  }

  /** A constrained request may go on, or has to end. */
  #takeMask(answer: FromGrammar): void {
    const { request, first } = this.#grammars.receive(answer) ?? {};
    if (request === undefined) return; // it ended while the answer was on its way
    if (answer.type === "mask") {
      if (first) this.#prefill.enqueue(request);
      return;
    }
    const finish: FinishReason = answer.type === "complete"
      ? { type: "stop", matched: this.#config.eosIds[0] ?? 0 }
      : { type: "error", code: answer.code, message: answer.message };
    this.#updates.push(endOf(request, finish));
    this.#end(request);
  }

  /** Takes in the result of the oldest batch in flight. Throws if it is another's. */
  processBatchResult(result: StepResult): void {
    const batch = this.#inFlight.shift();
    if (batch?.id !== result.id) {
      throw new Error(`result ${result.id} came instead of ${batch?.id ?? "none"}`);
    }
    const { prefillTokens } = batch, forwards = batch.draws ? 0 : batch.steps;
    this.#pace.observe(prefillTokens, forwards, result.milliseconds);
    let tokens = 0;
    for (const sequence of batch.sequences) {
      const { request } = sequence;
      request.inFlight--;
      const update = request.ended ? null : processSequence(result, batch, sequence);
      const taken = update?.tokens.length ?? 0;
      tokens += taken;
      if (sequence.draws) this.#counters.totals.wastedTokensTotal += batch.steps - taken;
      if (update !== null) this.#updates.push(update);
      if (update !== null && update.finish === null) this.#grammars.accept(request, update.tokens.at(-1)!);
      if (update?.finish) this.#end(request);
      else this.#releaseIfDone(request);
    }
    this.#cache.reclaim(batch.id);
    this.#counters.finishStep(tokens, forwards, prefillTokens, result.milliseconds);
  }

  /** After the tokenizer was lost: ends what is not in `live`. Returns those of `live` that never arrived. */
  keepOnly(live: readonly string[]): string[] {
    const wanted = new Set(live);
    for (const request of [...this.#requests.values()]) if (!wanted.has(request.id)) this.#end(request);
    return live.filter((id) => !this.#requests.has(id));
  }

  /** After the detokenizer was lost: begins again what has no text yet, ends the rest, and returns that of `live`. */
  startAgain(live: readonly string[]): string[] {
    this.#updates = [];
    for (const request of [...this.#requests.values()]) {
      if (request.output.length > 0) this.#end(request);
      else this.#announce(request);
    }
    return live.filter((id) => !this.#requests.has(id));
  }

  /** Empties the prefix cache; refused (false) while there are requests. */
  flush(): boolean {
    if (this.#requests.size > 0 || this.#inFlight.length > 0) return false;
    this.#cache.flush();
    return true;
  }

  /** Totals and the present state. */
  counters(): SchedulerCounters {
    const { pageSize, numPages } = this.#config, { usage } = this.#cache;
    return {
      ...this.#counters.totals,
      runningRequests: this.#rows.usedRows,
      queuedRequests: this.#prefill.queued,
      ...usage,
      totalPages: numPages,
      pageSize,
      usedTokens: (numPages - usage.freePages) * pageSize - usage.evictableTokens,
      generationThroughput: this.#counters.throughput,
      stepMilliseconds: this.#counters.stepMilliseconds,
    };
  }

  /** This moment, for people to look at. */
  inspect(): SchedulerState {
    const runs = [...this.#cache.runs()];
    return {
      counters: this.counters(),
      requests: [...this.#requests.values()].slice(0, mostShown).map(stateOf),
      runs: runs.slice(0, mostShown),
      runsTotal: runs.length,
    };
  }

  /** Checks that every page has one owner, and the cache's own sums. Throws otherwise. For tests. */
  verify(): void {
    this.#cache.verify([...this.#rows.holders()].map(({ allocation }) => allocation!));
  }

  #arrive(spec: RequestSpec): void {
    const { id, ids } = spec;
    this.#announce(spec);
    this.#counters.totals.requestsTotal++;
    const maxNewTokens = this.#checkArrival(spec);
    if (typeof maxNewTokens !== "number") {
      this.#updates.push(endOf({ id, cachedTokens: null }, maxNewTokens));
      return;
    }
    this.#counters.totals.promptTokensTotal += ids.length;
    const request = new Request(spec, this.#arrivals++, maxNewTokens, this.#config);
    this.#requests.set(id, request);
    if (!this.#grammars.open(request)) this.#prefill.enqueue(request);
  }

  /** Tells the detokenizer of a request before any news of it. */
  #announce({ id, params }: Pick<RequestSpec, "id" | "params">): void {
    this.#io.toDetokenizer({ type: "start", id, params: { ...params, grammar: null } });
  }

  #checkArrival(spec: RequestSpec): number | FinishReason {
    if (this.#prefill.queued >= this.#config.maxQueuedRequests) {
      const message = `${this.#prefill.queued} requests are waiting already; try again later`;
      return { type: "error", code: "queue_full", message };
    }
    return checkRequest(spec, this.#config);
  }

  /** The next batch: every running request's next token, then chunks of prompts. Null if there is nothing to do. */
  #getNextBatch(later: boolean): ScheduleBatch | null {
    const yielding = this.#prefill.yielding();
    if (yielding !== null) this.#retract(yielding);
    return (this.#prefill.favours ? this.#makeBatch([]) : null) ?? this.#makeBatch(this.#decode.ready(later));
  }

  #makeBatch(ready: readonly Request[]): ScheduleBatch | null {
    const most = this.#prefill.busy || this.#grammars.active ? 1 : this.#pace.burst();
    const steps = this.#decode.steps(ready, most);
    const batch = new ScheduleBatch(this.#lastPlan + 1, steps);
    this.#decode.schedule(batch, ready, steps, () => this.#retractDecode());
    const { maxStepTokens, maxStepSamples } = this.#config;
    const chunk = this.#pace.chunk(batch.samples || this.#decode.ready(true).length);
    const budget = {
      tokens: Math.min(chunk, maxStepTokens - batch.tokens),
      samples: maxStepSamples - batch.samples,
    };
    for (const request of this.#prefill.schedule(batch, budget)) this.#decode.add(request);
    return batch.sequences.length === 0 ? null : batch;
  }

  /** Launches the draws whose masks have come, for the forward behind them. */
  #drawKept(): void {
    const batch = new ScheduleBatch(this.#lastPlan + 1, 1);
    for (const request of this.#decode.drawable()) batch.draw(request, request.allocation!);
    if (batch.samples > 0) this.#runBatch(batch);
  }

  #runBatch(batch: ScheduleBatch): void {
    this.#lastPlan = batch.id;
    this.#inFlight.push(batch);
    this.#io.toExecutors({ type: "plan", plan: batch.build() });
    this.#drained = false;
  }

  /** Frees pages by retracting the youngest request. False if pages are on their way and it is better to wait. */
  #retractDecode(): boolean {
    if (this.#cache.hasRetired) return false;
    let youngest: Request | undefined;
    for (const request of this.#rows.holders()) {
      if (!request.runnable) return false;
      if (youngest === undefined || request.arrival > youngest.arrival) youngest = request;
    }
    this.#retract(youngest!);
    return youngest!.allocation === null;
  }

  /** Takes a running request's row and pages, now or when nothing of it is in flight; it continues later. */
  #retract(request: Request): void {
    this.#counters.totals.retractionsTotal++;
    this.#prefill.remove(request);
    this.#decode.remove(request);
    request.retracting = true;
    this.#releaseIfDone(request);
  }

  /** The request's finish has been decided: nothing of it will be launched or told any more. */
  #end(request: Request): void {
    request.ended = true;
    this.#grammars.close(request);
    this.#requests.delete(request.id);
    this.#prefill.remove(request);
    this.#decode.remove(request);
    this.#releaseIfDone(request);
  }

  /** Takes back what an ended or retracted request holds, once no plan in flight contains it. */
  #releaseIfDone(request: Request): void {
    const { allocation } = request;
    if (allocation === null || request.inFlight > 0 || !(request.ended || request.retracting)) return;
    this.#cache.release(request, allocation);
    this.#rows.release(allocation.row);
    request.allocation = null;
    request.kept = false;
    if (request.ended) return;
    request.retracting = false;
    this.#prefill.enqueue(request);
  }
}
