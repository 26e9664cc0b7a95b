// Drives a scheduler by hand against the fake executor, plays the detokenizer, and compares what every request gets
// with the oracle.

import assert from "node:assert/strict";
import { defaultSamplingParams, type FinishReason, type SamplingParams } from "../../../engine/params.ts";
import type { TokenLogprob } from "../../../engine/params.ts";
import type { SchedulerConfig } from "../../../engine/scheduler/config.ts";
import { Scheduler } from "../../../engine/scheduler/scheduler.ts";
import type { ToDetokenizer, TokenUpdate } from "../../../engine/messages.ts";
import type { Probe } from "../../../engine/workers/protocol.ts";
import { FakeGrammarWorker } from "./fake_grammar.ts";
import { FakeExecutor } from "./fake_executor.ts";
import { type Expected, oracle } from "./fake_model.ts";

/** A small engine: enough of everything. */
export const baseConfig: SchedulerConfig = {
  pageSize: 4,
  numPages: 64,
  maxRunningRequests: 8,
  maxQueuedRequests: 1000,
  maxPrefillTokens: 64,
  maxStepTokens: 128,
  maxStepSamples: 64,
  contextLength: 128,
  vocabSize: 50,
  eosIds: [0],
  tokenizerDir: null,
  cache: "radix",
  overlap: true,
  maxDecodeSteps: 1,
  targetStepMilliseconds: 0,
  prefillStepMilliseconds: 0,
  newTokenRatio: 0.5,
  drawLater: false,
  poisonFreedPages: true,
};

/** A request as its client sees it. */
export class Client {
  started = false;
  readonly tokens: number[] = [];
  readonly logprobs: TokenLogprob[] = [];
  promptLogprobs: readonly (TokenLogprob | null)[] | null = null;
  finish: FinishReason | null = null;
  cachedTokens = 0;
  embedding: Float32Array | undefined;
  /** Its detokenizer has seen a stop string: no more news may come. */
  stopped = false;
  aborted = false;

  constructor(
    readonly id: string,
    readonly prompt: Uint32Array,
    readonly params: SamplingParams,
    /** Null when the request must be refused. */
    readonly expected: Expected | null,
  ) {}

  get over(): boolean {
    return this.finish !== null || this.stopped;
  }

  take(update: TokenUpdate): void {
    assert.ok(this.started, "an update before the start");
    assert.equal(this.finish, null, "an update after the finish");
    assert.ok(!this.stopped, "an update after the stop");
    if (this.tokens.length > 0) assert.equal(update.promptLogprobs, null, "prompt log-probabilities late");
    this.tokens.push(...update.tokens);
    this.logprobs.push(...update.logprobs ?? []);
    this.promptLogprobs ??= update.promptLogprobs;
    this.finish = update.finish;
    this.cachedTokens = update.cachedTokens;
    this.embedding = update.embedding;
    this.#check();
  }

  /** Whether all that has come so far, and the end if there is one, is right. */
  #check(): void {
    if (this.expected === null) {
      if (this.finish !== null && !this.aborted) assert.equal(this.finish.type, "error");
      assert.deepEqual(this.tokens, []);
      return;
    }
    const { tokens, finish, logprobs, promptLogprobs, late } = this.expected;
    const count = this.tokens.length;
    assert.deepEqual(this.tokens, tokens.slice(0, count), `tokens of ${this.id}`);
    assert.deepEqual(this.logprobs, logprobs?.slice(0, count) ?? []);
    if (count > 0) assert.deepEqual(this.promptLogprobs, promptLogprobs);
    if (this.finish === null) return assert.ok(late || count < tokens.length, "the finish is missing");
    if (this.finish.type === "abort") return assert.ok(this.aborted);
    assert.deepEqual(this.embedding, this.expected.embedding);
    assert.deepEqual(this.finish, finish);
    assert.equal(count, tokens.length, "finished early");
  }
}

export class Driver {
  readonly config: SchedulerConfig;
  readonly executor: FakeExecutor;
  readonly grammars: FakeGrammarWorker;
  readonly scheduler: Scheduler;
  readonly clients = new Map<string, Client>();
  readonly #now = performance.now;

  constructor(config: Partial<SchedulerConfig> = {}) {
    this.config = { ...baseConfig, ...config };
    this.executor = new FakeExecutor(this.config);
    this.grammars = new FakeGrammarWorker(this.config.vocabSize);
    this.scheduler = new Scheduler(this.config, {
      toExecutors: (message) => this.executor.receive(message),
      toDetokenizer: (message) => this.#detokenize(message),
      toGrammar: (message) => this.grammars.receive(message),
    });
  }

  /** Sends a request; the scheduler acts on it with the next `advance` or `deliver`. */
  send(prompt: ArrayLike<number>, params: Partial<SamplingParams> = {}, salt = "", owner = ""): Client {
    const ids = Uint32Array.from(prompt);
    const complete = { ...defaultSamplingParams, temperature: 0, ...params };
    const { contextLength, numPages, pageSize, eosIds, vocabSize } = this.config;
    const room = Math.min(contextLength, numPages * pageSize) - ids.length;
    const max = complete.maxTokens ?? room;
    const refused = ids.length === 0 || !(max > 0 && max <= room) || !Number.isInteger(max) ||
      [...ids, ...complete.logitBias.map(([id]) => id)].some((id) => id >= vocabSize) ||
      this.scheduler.counters().queuedRequests >= this.config.maxQueuedRequests;
    const expected = refused ? null : oracle(ids, complete, max, eosIds, vocabSize);
    const client = new Client(`r${this.clients.size}`, ids, complete, expected);
    this.clients.set(client.id, client);
    this.scheduler.processInput({
      type: "request",
      id: client.id,
      ids,
      params: complete,
      salt,
      client: owner,
    });
    return client;
  }

  abort(client: Client): void {
    client.aborted = true;
    this.scheduler.processInput({ type: "abort", id: client.id });
  }

  /** Stops a request that has said something; one that has ended meanwhile does not mind. */
  stop(client: Client): void {
    if (client.tokens.length === 0) return;
    if (client.finish === null && !client.aborted) client.stopped = true;
    this.scheduler.processInput({ type: "stopped", id: client.id });
  }

  advance(): void {
    this.scheduler.runNextBatches();
    this.scheduler.verify();
  }

  /** Hands the oldest result to the scheduler; false if there is none. */
  deliver(): boolean {
    const result = this.executor.results.shift();
    if (result === undefined) return false;
    this.scheduler.processBatchResult(result);
    this.advance();
    return true;
  }

  /** Lets a second pass, for those who look at the clock. */
  late(): void {
    const { now } = performance;
    performance.now = () => now.call(performance) + 1000;
  }

  /** Sets the clock right. */
  [Symbol.dispose](): void {
    performance.now = this.#now;
  }

  /** Hands one of the grammar worker's answers to the scheduler; false if there is none. */
  answer(which = 0): boolean {
    const answer = this.grammars.answer(which);
    if (answer === null) return false;
    this.scheduler.processInput(answer);
    this.advance();
    return true;
  }

  /** Runs until nothing happens any more. Every request must then be over, and nothing may be held. */
  finish(): void {
    this.advance();
    while (this.deliver() || this.answer());
    assert.equal(this.executor.unread, 0, "a plan was never read");
    for (const client of this.clients.values()) assert.ok(client.over, `${client.id} never ends`);
    const { numPages, pageSize } = this.config;
    const counters = this.scheduler.counters();
    assert.equal(counters.runningRequests, 0);
    assert.equal(counters.queuedRequests, 0);
    assert.equal(counters.lockedTokens, 0);
    assert.equal(counters.usedTokens, 0);
    assert.equal(counters.freePages + counters.evictableTokens / pageSize, numPages, "a page leaked");
    assert.equal(this.scheduler.flush(), true);
    assert.equal(this.scheduler.counters().freePages, numPages);
    this.scheduler.verify();
  }

  #detokenize(message: Exclude<ToDetokenizer, Probe>): void {
    if (message.type === "start") {
      const client = this.clients.get(message.id)!;
      assert.ok(!client.started, "started twice");
      client.started = true;
    } else {
      for (const update of message.updates) this.clients.get(update.id)!.take(update);
    }
  }
}
