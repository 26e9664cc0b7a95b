// A scripted engine for tests of the HTTP server: no model, no workers, and every answer known in advance. A token
// is a byte of UTF-8 (so that tokens end within characters, too); 256 ends the text.

import { Buffer } from "node:buffer";
import type { EngineStats, GenerateRequest } from "../../../engine/engine.ts";
import type { ModelInfo } from "../../../engine/options.ts";
import type { FinishReason, SamplingParams } from "../../../engine/params.ts";
import type { SchedulerCounters, SchedulerState } from "../../../engine/scheduler/config.ts";
import type { Life } from "../../../engine/workers/watchdog.ts";
import { silu } from "../../../kernels/ops.ts";
import type { Generation } from "../../../server/http/engine_api.ts";
import type { ReplicaEngine } from "../../../server/replicas/replica.ts";
import type { Delta, PromptInput, TextLogprob } from "../../../engine/messages.ts";

export const END_OF_TEXT = 256;

/** What the engine answers to a prompt: text in the given pieces, or a refusal. */
export type Script = (prompt: string, params: SamplingParams, request: GenerateRequest) => ScriptedAnswer;

export type ScriptedAnswer =
  /** At once, or as many pieces a second as a model would make tokens. */
  | { readonly pieces: readonly string[]; readonly finish?: FinishReason; readonly perSecond?: number }
  /** A first piece, and the end only when the promise resolves. */
  | { readonly first: string; readonly until: Promise<void> }
  /** Goes on for ever, one piece after another, until it is aborted or reaches max_tokens. */
  | { readonly forever: string }
  /** Is accepted and then silent until aborted. */
  | { readonly silent: true };

/** Repeats the prompt's last line. */
const parrot: Script = (prompt) => ({ pieces: [...`You said: ${prompt.trimEnd().split("\n").at(-1)}`] });

export class FakeEngine implements ReplicaEngine {
  readonly model: ModelInfo;
  readonly requests: GenerateRequest[] = [];
  /** What was encoded without generating. */
  readonly encoded: PromptInput[] = [];
  /** Generations that have not ended. */
  readonly live = new Set<FakeGeneration>();
  life: Life = { state: "ok" };
  readonly stats: EngineStats = {
    restarts: { tokenizer: 0, detokenizer: 0 },
    tokenizerQueue: 0,
    tokenized: 0,
    tokenizerSeconds: 0,
    counters: null,
  };
  health: "ready" | "dead" = "ready";
  /** What the counters say has been computed of prompts. */
  prefillTokens = 0;
  readonly dead: Promise<Error>;
  #die!: (error: Error) => void;
  readonly #script: Script;
  #totals = { prompt: 0, generated: 0, requests: 0, aborted: 0, steps: 0 };

  constructor(script: Script = parrot, model: Partial<ModelInfo> = {}) {
    this.#script = script;
    this.model = { ...fakeModel, ...model };
    this.dead = new Promise((resolve) => this.#die = resolve);
  }

  submit(request: GenerateRequest): Generation {
    this.requests.push(request);
    this.#totals.requests++;
    const prompt = this.#text(request.input);
    const ids = this.#ids(request.input);
    const room = this.model.contextLength - ids.length;
    const refusal: FinishReason | null = room <= 0
      ? {
        type: "error",
        code: "too_long",
        message: `the prompt has ${ids.length} tokens, the context ${this.model.contextLength}`,
      }
      : null;
    this.#totals.prompt += ids.length;
    const answer = refusal ? { pieces: [], finish: refusal } : this.#script(prompt, request.params, request);
    const generation = new FakeGeneration(String(this.#totals.requests), ids, request.params, answer, {
      token: () => this.#totals.generated++,
      step: () => this.#totals.steps++,
      end: (finish) => {
        this.live.delete(generation);
        if (finish.type === "abort") this.#totals.aborted++;
      },
    });
    this.live.add(generation);
    request.signal?.addEventListener("abort", () => generation.abort());
    return generation;
  }

  encode(input: PromptInput): Promise<{ ids: Uint32Array; rendered: string | null }> {
    this.encoded.push(input);
    return Promise.resolve({ ids: this.#ids(input), rendered: this.#text(input) });
  }

  decode(ids: Uint32Array, skipSpecialTokens: boolean): Promise<string> {
    const bytes = [...ids].flatMap((id) =>
      id < 256 ? [id] : skipSpecialTokens ? [] : [...Buffer.from("<end>")]
    );
    return Promise.resolve(Buffer.from(bytes).toString("utf8"));
  }

  async inspect(): Promise<SchedulerState> {
    return { counters: await this.counters(), requests: [], runs: [], runsTotal: 0 };
  }

  counters(): Promise<SchedulerCounters> {
    if (this.health === "dead") return Promise.reject(new Error("executor 0 ended"));
    const used = this.live.size * this.model.pageSize;
    return Promise.resolve({
      runningRequests: this.live.size,
      queuedRequests: 0,
      freePages: this.model.numPages - this.live.size,
      totalPages: this.model.numPages,
      pageSize: this.model.pageSize,
      usedTokens: used,
      lockedTokens: 0,
      evictableTokens: 0,
      promptTokensTotal: this.#totals.prompt,
      cachedTokensTotal: 0,
      generatedTokensTotal: this.#totals.generated,
      requestsTotal: this.#totals.requests,
      abortedTotal: this.#totals.aborted,
      evictedTokensTotal: 0,
      retractionsTotal: 0,
      stepsTotal: this.#totals.steps,
      prefillStepsTotal: 0,
      prefillTokensTotal: this.prefillTokens,
      wastedTokensTotal: 0,
      generationThroughput: 0,
      busyMillisecondsTotal: 0,
      stepMilliseconds: 0,
    });
  }

  flush(): Promise<boolean> {
    return Promise.resolve(this.live.size === 0);
  }

  readonly deviceReason = "as scripted";

  async [Symbol.asyncDispose](): Promise<void> {}

  /** A worker dies: what runs fails, and the engine is dead from now on. */
  kill(message: string): void {
    this.health = "dead";
    for (const generation of [...this.live]) generation.fail({ type: "error", code: "unavailable", message });
    this.#die(new Error(message));
  }

  #text(input: PromptInput): string {
    switch (input.type) {
      case "text":
        return input.text;
      case "ids":
        return Buffer.from(input.ids.filter((id) => id < 256)).toString("utf8");
      case "chat": {
        const tools = input.tools ? `tools: ${JSON.stringify(input.tools)}\n` : "";
        const lines = input.messages.map((message) => `${message.role}: ${message.content ?? ""}`);
        return tools + lines.join("\n") + (input.continueFinal ? "" : "\nassistant: ") +
          (input.answerStart ?? "");
      }
    }
  }

  #ids(input: PromptInput): Uint32Array {
    return input.type === "ids" ? input.ids : Uint32Array.from(Buffer.from(this.#text(input), "utf8"));
  }
}

interface Observer {
  token(): void;
  step(): void;
  end(finish: FinishReason): void;
}

export class FakeGeneration implements Generation {
  readonly id: string;
  readonly promptIds: Promise<Uint32Array>;
  readonly params: SamplingParams;
  readonly #prompt: Uint32Array;
  readonly #answer: ScriptedAnswer;
  readonly #observer: Observer;
  #ended: FinishReason | null = null;
  #wake: (() => void) | null = null;

  constructor(
    id: string,
    prompt: Uint32Array,
    params: SamplingParams,
    answer: ScriptedAnswer,
    observer: Observer,
  ) {
    this.id = id;
    this.#prompt = prompt;
    this.params = params;
    this.#answer = answer;
    this.#observer = observer;
    const refused = "finish" in answer && answer.finish?.type === "error" && answer.pieces.length === 0;
    this.promptIds = refused ? Promise.reject(new Error("refused")) : Promise.resolve(prompt);
    this.promptIds.catch(() => {});
  }

  abort(): void {
    this.#ended ??= { type: "abort" };
    this.#wake?.();
  }

  fail(finish: FinishReason): void {
    this.#ended ??= finish;
    this.#wake?.();
  }

  follow(listener: (delta: Delta) => void): void {
    void (async () => {
      for await (const delta of this) listener(delta);
    })();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Delta> {
    let sent = 0;
    let all = "";
    const limit = this.params.maxTokens ?? ("forever" in this.#answer ? 1000 : Infinity);
    const finish = (reason: FinishReason): Delta => {
      this.#observer.end(reason);
      return this.#delta(
        "",
        reason.type === "stop" && reason.matched === END_OF_TEXT ? [END_OF_TEXT] : [],
        reason,
      );
    };
    const begun = performance.now();
    let step = 0;
    for (const piece of this.#pieces()) {
      await new Promise<void>((resolve) => queueMicrotask(resolve));
      if ("pieces" in this.#answer && this.#answer.perSecond !== undefined) {
        const early = begun + 1000 * ++step / this.#answer.perSecond - performance.now();
        if (early > 0) await new Promise((resolve) => setTimeout(resolve, early));
      }
      if (sent % 8 === 0) await turn(); // Lets other work in, as a worker's message would.
      if (this.#ended) return yield finish(this.#ended);
      const bytes = [...Buffer.from(piece, "utf8")];
      if (sent + bytes.length > limit) {
        return yield finish({ type: "length" });
      }
      const stop = this.params.stop.find((each) => (all + piece).includes(each));
      if (stop !== undefined) {
        const text = (all + piece).slice(all.length, Math.max(all.length, (all + piece).indexOf(stop)));
        if (text !== "") yield this.#delta(text, bytes, null);
        return yield finish({ type: "stop", matched: stop });
      }
      all += piece;
      sent += bytes.length;
      for (const _ of bytes) this.#observer.token();
      this.#observer.step();
      yield this.#delta(piece, bytes, null);
      if (sent === limit) return yield finish({ type: "length" });
    }
    if ("until" in this.#answer) await this.#answer.until;
    if ("silent" in this.#answer && !this.#ended) await new Promise<void>((resolve) => this.#wake = resolve);
    const scripted = "pieces" in this.#answer ? this.#answer.finish : undefined;
    yield finish(this.#ended ?? scripted ?? { type: "stop", matched: END_OF_TEXT });
  }

  *#pieces(): Generator<string> {
    if ("pieces" in this.#answer) yield* this.#answer.pieces;
    else if ("first" in this.#answer) yield this.#answer.first;
    else if ("forever" in this.#answer) { while (true) yield this.#answer.forever; }
  }

  #promptSent = false;
  #delta(text: string, tokens: readonly number[], finish: FinishReason | null): Delta {
    const promptLogprobs = this.params.promptLogprobs !== null && !this.#promptSent
      ? [...this.#prompt].map((id, i) => i === 0 ? null : logprobOf(id, this.params.promptLogprobs!))
      : null;
    this.#promptSent = true;
    const { logprobs } = this.params;
    return {
      id: this.id,
      text,
      tokens,
      logprobs: logprobs === null ? null : tokens.map((id) => logprobOf(id, logprobs)),
      promptLogprobs,
      cachedTokens: Math.floor(this.#prompt.length / 2),
      finish,
    };
  }
}

/** Every token has probability 1/2, the alternatives share what is left. */
function logprobOf(id: number, top: number): TextLogprob {
  const entry = (token: number, logprob: number) => {
    const bytes = token < 256 ? [token] : [...Buffer.from("<end>")];
    return { id: token, text: Buffer.from(bytes).toString("utf8"), bytes, logprob };
  };
  const alternatives = Array.from(
    { length: top },
    (_, i) => entry(i === 0 ? id : (id + i) % 256, -Math.log(2) * (i + 1)),
  );
  return { ...entry(id, -Math.log(2)), top: alternatives };
}

/** One turn of the event loop. */
function turn(): Promise<void> {
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    port2.onmessage = () => {
      port1.close();
      port2.close();
      resolve();
    };
    port1.postMessage(null);
  });
}

const fakeModel: ModelInfo = {
  id: "fake",
  path: "models/fake",
  config: {
    architecture: "Qwen3ForCausalLM",
    modelType: "qwen3",
    vocabSize: 260,
    hiddenSize: 8,
    intermediateSize: 8,
    numLayers: 1,
    numHeads: 1,
    numKvHeads: 1,
    headDim: 8,
    rmsNormEpsilon: 1e-6,
    maxPositions: 4096,
    tieEmbeddings: true,
    qkvBias: false,
    outputBias: false,
    mlpBias: false,
    norms: "before",
    qkNorm: "heads",
    gate: silu,
    embeddingMultiplier: 1,
    residualMultiplier: 1,
    attentionMultiplier: 1,
    logitsMultiplier: 1,
    attentionSoftCap: null,
    logitSoftCap: null,
    attentionSinks: false,
    localRope: null,
    rotaryDim: 8,
    unrotatedLayers: [],
    rope: { type: "default", theta: 10000 },
    slidingWindow: [null],
    moe: null,
    dtype: "f32",
  },
  contextLength: 4096,
  hasTokenizer: true,
  hasChatTemplate: true,
  chatTemplate: "{{ messages }}",
  templateProblem: null,
  eosIds: [END_OF_TEXT],
  generationDefaults: {},
  embedding: null,
  device: { kind: "reference", description: "scripted", software: true, memoryBytes: null },
  weightBytes: 1000,
  weightFormats: ["f32"],
  kvDType: "auto",
  rankWeightBytes: [1000],
  numPages: 256,
  pageSize: 16,
  tp: 1,
  maxRunningRequests: 64,
};
