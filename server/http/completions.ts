// POST /v1/completions: OpenAI's text completion, with several prompts, echo and the older log-probability form.

import { Hono } from "hono";
import { answer, type AnswerForm, type AppEnv } from "./answer.ts";
import type { ServedEngine } from "./engine_api.ts";
import { ApiError } from "./errors.ts";
import {
  choiceParams,
  isFlat,
  promptTokens,
  requireFewEnough,
  requireStreaming,
  requireTokenizer,
  samplingParams,
} from "./params.ts";
import { Run, type RunEvent } from "./run.ts";
import { type CompletionRequest, completionRequestSchema } from "./schemas/completion.ts";
import { constraint, outputGrammar } from "./structured.ts";
import { readRequest } from "./read_request.ts";
import type { Service } from "./service.ts";
import { doneEvent, event, eventAround } from "./sse.ts";
import { CompletionLogprobs } from "./completion_logprobs.ts";
import type { PromptInput, TextLogprob } from "../../engine/messages.ts";

/** POST /v1/completions. */
export function completionRoutes(service: Service): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  app.post("/v1/completions", async (c) => {
    const request = await readRequest(c, service, completionRequestSchema);
    const engine = service.readyEngine;
    requireStreaming(request);
    const inputs = promptInputs(request, engine);
    const count = request.n ?? 1;
    requireFewEnough(inputs.length, count);
    if ((request.best_of ?? count) !== count) {
      throw new ApiError(400, "best_of: supported only when equal to n", { param: "best_of" });
    }
    const echo = request.echo === true;
    // Scoring a prompt generates nothing; the engine always makes a token, which is then left out.
    const scoreOnly = request.max_tokens === 0;
    if (scoreOnly && !echo) {
      throw new ApiError(400, "max_tokens: 0 is allowed only together with echo", { param: "max_tokens" });
    }
    const params = samplingParams(
      request,
      {
        maxTokens: scoreOnly ? 1 : request.max_tokens ?? null,
        minTokens: request.min_tokens ?? 0,
        seed: request.seed ?? null,
        logprobs: request.logprobs ?? null,
        promptLogprobs: echo ? request.logprobs ?? null : null,
      },
      engine.model,
      outputGrammar(constraint(request, engine.model), false),
    );
    const { id } = c.get("record");
    const run = new Run(
      service,
      service.readyEngine,
      c.var,
      inputs.map((input) => ({
        input,
        params: Array.from({ length: count }, (_, i) => choiceParams(params, i)),
        salt: request.cache_salt ?? "",
        id,
      })),
    );
    const form = new CompletionForm(service, id, run, {
      echo: echo ? inputs : null,
      scoreOnly,
      skipSpecialTokens: params.skipSpecialTokens,
      includeUsage: request.stream_options?.include_usage === true,
    });
    return answer(c, service, run, request.stream === true, form);
  });
  return app;
}

type CompletionPrompt = Exclude<PromptInput, { readonly type: "chat" }>;

function promptInputs(request: CompletionRequest, engine: ServedEngine): CompletionPrompt[] {
  const { prompt } = request;
  const text = (each: string): CompletionPrompt => {
    requireTokenizer(engine.model, "prompt", "a text prompt needs", "; send ids");
    return { type: "text", text: each, addSpecialTokens: request.add_special_tokens ?? true };
  };
  const ids = (each: readonly number[]): CompletionPrompt => ({
    type: "ids",
    ids: promptTokens(each, "prompt", engine.model),
  });
  if (typeof prompt === "string") return [text(prompt)];
  return isFlat(prompt)
    ? [ids(prompt)]
    : prompt.map((each) => typeof each === "string" ? text(each) : ids(each));
}

interface CompletionFormOptions {
  /** The prompts, if they are to be repeated. */
  readonly echo: readonly CompletionPrompt[] | null;
  readonly scoreOnly: boolean;
  readonly skipSpecialTokens: boolean;
  readonly includeUsage: boolean;
}

class CompletionForm implements AnswerForm {
  readonly #engine: ServedEngine;
  readonly #run: Run;
  readonly #options: CompletionFormOptions;
  readonly #head: { readonly id: string; readonly created: number; readonly model: string };
  readonly #logprobs: readonly CompletionLogprobs[];
  readonly #begun = new Set<number>();

  constructor(service: Service, id: string, run: Run, options: CompletionFormOptions) {
    this.#engine = service.engine;
    this.#run = run;
    this.#options = options;
    this.#head = { id, created: Math.floor(Date.now() / 1000), model: service.modelName };
    this.#logprobs = run.states.map(() => new CompletionLogprobs());
  }

  async *stream(events: AsyncIterable<RunEvent>): AsyncGenerator<string> {
    const chunks: ((text: string) => string)[] = [];
    for await (const { index, delta } of events) {
      const text = await this.#text(index, delta);
      const logprobs = this.#logprobs[index]!.take();
      if (logprobs !== null) yield this.#chunk({ index, text, logprobs, finish_reason: null });
      else if (text !== "") yield (chunks[index] ??= this.#textChunk(index))(text);
      const finish = this.#finish(delta);
      if (finish) yield this.#chunk({ index, text: "", logprobs: null, ...finish });
    }
    if (this.#options.includeUsage) {
      yield event({ ...this.#head, object: "text_completion", choices: [], usage: await this.#usage() });
    }
    yield doneEvent;
  }

  async collect(events: AsyncIterable<RunEvent>): Promise<unknown> {
    const choices = this.#run.states.map((_, index): Choice => ({
      index,
      text: "",
      logprobs: null,
      finish_reason: "abort",
    }));
    for await (const { index, delta } of events) {
      const choice = choices[index]!;
      choice.text += await this.#text(index, delta);
      Object.assign(choice, this.#finish(delta));
    }
    for (const choice of choices) choice.logprobs = this.#logprobs[choice.index]!.take();
    return { ...this.#head, object: "text_completion", choices, usage: await this.#usage() };
  }

  /** The text to show of a delta, with the prompt before the first one if asked for; notes log-probabilities. */
  async #text(index: number, delta: RunEvent["delta"]): Promise<string> {
    const { echo, scoreOnly } = this.#options;
    const first = !this.#begun.has(index);
    this.#begun.add(index);
    const logprobs = this.#logprobs[index]!;
    let text = first && echo ? await this.#prompt(index, echo) : "";
    if (delta.promptLogprobs) logprobs.add(await this.#withFirst(index, delta.promptLogprobs));
    if (!scoreOnly) {
      if (delta.logprobs) logprobs.add(delta.logprobs);
      text += delta.text;
    }
    return text;
  }

  async #prompt(index: number, echo: readonly CompletionPrompt[]): Promise<string> {
    const state = this.#run.states[index]!;
    const input = echo[state.prompt]!;
    if (input.type === "text") return input.text;
    if (!this.#engine.model.hasTokenizer) return "";
    return this.#engine.decode(input.ids, this.#options.skipSpecialTokens);
  }

  /** The first prompt token has no probability, but it has a text. */
  async #withFirst(
    index: number,
    logprobs: readonly (TextLogprob | null)[],
  ): Promise<(TextLogprob | { readonly text: string })[]> {
    const ids = await this.#run.states[index]!.generation.promptIds;
    return Promise.all(
      logprobs.map(async (each, i) =>
        each ??
          {
            text: this.#engine.model.hasTokenizer
              ? await this.#engine.decode(ids.slice(i, i + 1), false)
              : "",
          }
      ),
    );
  }

  #finish(delta: RunEvent["delta"]): Pick<Choice, "finish_reason" | "matched_stop"> | null {
    if (delta.finish === null) return null;
    return {
      finish_reason: this.#options.scoreOnly ? "length" : delta.finish.type,
      matched_stop: delta.finish.type === "stop" ? delta.finish.matched : null,
    };
  }

  async #usage() {
    const usage = await this.#run.usage();
    if (!this.#options.scoreOnly) return usage;
    return { ...usage, completion_tokens: 0, total_tokens: usage.prompt_tokens };
  }

  /** Chunks with a piece of text, as most are. */
  #textChunk(index: number): (text: string) => string {
    return eventAround((text) => this.#chunkValue({ index, text, logprobs: null, finish_reason: null }));
  }

  #chunk(choice: Choice): string {
    return event(this.#chunkValue(choice));
  }

  #chunkValue(choice: Choice): unknown {
    const usage = this.#options.includeUsage ? { usage: null } : {};
    return { ...this.#head, object: "text_completion", choices: [choice], ...usage };
  }
}

interface Choice {
  readonly index: number;
  text: string;
  logprobs: ReturnType<CompletionLogprobs["take"]>;
  finish_reason: string | null;
  matched_stop?: string | number | null;
}
