// POST /generate: SGLang's native API. Text or token ids in, text, token ids and `meta_info` out; a stream repeats
// the whole text so far in every event, as SGLang's clients expect. Works without a tokenizer.

import { Hono } from "hono";
import type { ModelInfo } from "../../engine/options.ts";
import type { FinishReason } from "../../engine/params.ts";
import type { PromptInput, TextLogprob } from "../../engine/messages.ts";
import { answer, type AnswerForm, type AppEnv } from "./answer.ts";
import { readJson } from "./body.ts";
import { finiteLogprob } from "./completion_logprobs.ts";
import { ApiError, invalid } from "./errors.ts";
import { choiceParams, promptTokens, requireFewEnough, requireTokenizer, samplingParams } from "./params.ts";
import { Run, type RunEvent } from "./run.ts";
import { abortRequestSchema, type GenerateBody, generateRequestSchema } from "./schemas/generate.ts";
import { validate } from "./schemas/validate.ts";
import { constraint, outputGrammar } from "./structured.ts";
import type { Service } from "./service.ts";
import { doneEvent, event } from "./sse.ts";

/** POST /generate and /abort_request. */
export function nativeRoutes(service: Service): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  app.post("/generate", async (c) => {
    const { model } = service.readyEngine;
    const request = validate(generateRequestSchema, await readJson(c.req.raw, service.options));
    const { inputs, batch } = promptInputs(request, model);
    const pick = <T>(value: T | readonly T[] | null | undefined, param: string) =>
      perPrompt(value, inputs.length, param);
    const sampling = pick(request.sampling_params, "sampling_params");
    const wantLogprobs = pick(request.return_logprob, "return_logprob");
    const start = pick(request.logprob_start_len, "logprob_start_len");
    const top = pick(request.top_logprobs_num, "top_logprobs_num");
    const rids = pick(request.rid, "rid");
    const choices = sampling[0]?.n ?? 1;
    if (sampling.some((each) => (each?.n ?? 1) !== choices)) {
      throw new ApiError(400, "sampling_params: n must be the same for all prompts", {
        param: "sampling_params",
      });
    }
    requireFewEnough(inputs.length, choices);
    const { id } = c.get("record");
    const prompts = inputs.map((input, i) => {
      const given = sampling[i] ?? {};
      const logprobs = wantLogprobs[i] === true ? top[i] ?? 0 : null;
      const from = start[i] ?? -1;
      const params = samplingParams(
        { ...given, priority: request.priority },
        {
          maxTokens: given.max_new_tokens === 0 ? 1 : given.max_new_tokens ?? null,
          minTokens: given.min_new_tokens ?? 0,
          seed: given.sampling_seed ?? given.seed ?? null,
          logprobs,
          promptLogprobs: from >= 0 ? logprobs : null,
          promptLogprobsStart: Math.max(0, from),
        },
        model,
        outputGrammar(constraint(given, model), false),
      );
      return {
        input,
        params: Array.from({ length: choices }, (_, choice) => choiceParams(params, choice)),
        salt: "",
        id: rids[i] ?? (batch ? `${id}-${i}` : id),
      };
    });
    const run = new Run(service, service.readyEngine, c.var, prompts);
    const form = new NativeForm(run, {
      list: batch || choices > 1,
      hasText: model.hasTokenizer,
      textInLogprobs: request.return_text_in_logprobs === true,
      scoreOnly: run.states.map((state) => sampling[state.prompt]?.max_new_tokens === 0),
    });
    return answer(c, service, run, request.stream === true, form);
  });
  app.post("/abort_request", async (c) => {
    const request = validate(abortRequestSchema, await readJson(c.req.raw, service.options));
    const id = request.rid ?? null;
    if (id === null && request.abort_all !== true) {
      throw new ApiError(400, "rid: give the id of a request, or abort_all: true", { param: "rid" });
    }
    return c.json({ aborted: service.abort(request.abort_all === true ? null : id, c.get("owner")) });
  });
  return app;
}

function promptInputs(request: GenerateBody, model: ModelInfo): { inputs: PromptInput[]; batch: boolean } {
  const text = request.text ?? null, ids = request.input_ids ?? null;
  if ((text === null) === (ids === null)) {
    throw new ApiError(400, "give either text or input_ids", { param: text === null ? "text" : "input_ids" });
  }
  if (text !== null) {
    requireTokenizer(model, "text", "text needs", "; send input_ids");
    const texts = typeof text === "string" ? [text] : text;
    return { inputs: texts.map((each) => ({ type: "text", text: each })), batch: typeof text !== "string" };
  }
  const input = (list: readonly number[]): PromptInput => ({
    type: "ids",
    ids: promptTokens(list, "input_ids", model),
  });
  return isBatch(ids!) ? { inputs: ids.map(input), batch: true } : { inputs: [input(ids!)], batch: false };
}

function isBatch(ids: readonly number[] | readonly number[][]): ids is readonly number[][] {
  return Array.isArray(ids[0]);
}

/** One value for each prompt, from a list of as many or from one for all. */
function perPrompt<T>(
  value: T | readonly T[] | null | undefined,
  count: number,
  param: string,
): (T | null)[] {
  if (!Array.isArray(value)) return Array(count).fill(value ?? null);
  if (value.length === count) return value;
  throw invalid(param, `${param}: ${value.length} values for ${count} prompts`);
}

/** A token with its log-probability: [logprob, id, text or null]. */
type Entry = readonly [number | null, number, string | null];

interface Output {
  text: string;
  readonly ids: number[];
  readonly entries: Entry[];
  readonly top: Entry[][];
  promptEntries: Entry[] | null;
  promptTop: (Entry[] | null)[] | null;
}

interface NativeFormOptions {
  readonly list: boolean;
  readonly hasText: boolean;
  readonly textInLogprobs: boolean;
  /** Per generation: the engine's one token is left out. */
  readonly scoreOnly: readonly boolean[];
}

class NativeForm implements AnswerForm {
  readonly #run: Run;
  readonly #options: NativeFormOptions;
  readonly #outputs: readonly Output[];

  constructor(run: Run, options: NativeFormOptions) {
    this.#run = run;
    this.#options = options;
    this.#outputs = run.states.map(() => ({
      text: "",
      ids: [],
      entries: [],
      top: [],
      promptEntries: null,
      promptTop: null,
    }));
  }

  async *stream(events: AsyncIterable<RunEvent>): AsyncGenerator<string> {
    for await (const { index, delta } of events) {
      await this.#take(index, delta);
      const output = await this.#result(index, delta.finish);
      yield event(this.#options.list ? { index, ...output } : output);
    }
    yield doneEvent;
  }

  async collect(events: AsyncIterable<RunEvent>): Promise<unknown> {
    for await (const { index, delta } of events) await this.#take(index, delta);
    const results = await Promise.all(
      this.#run.states.map((state, index) => this.#result(index, state.finish)),
    );
    return this.#options.list ? results : results[0];
  }

  async #take(index: number, delta: RunEvent["delta"]): Promise<void> {
    const output = this.#outputs[index]!;
    if (delta.promptLogprobs) {
      const ids = await this.#run.states[index]!.generation.promptIds;
      const first = ids.length - delta.promptLogprobs.length;
      output.promptEntries = delta.promptLogprobs
        .map((each, i): Entry => each ? this.#entry(each) : [null, ids[first + i]!, null]);
      output.promptTop = delta.promptLogprobs.map((each) => each && this.#top(each));
    }
    if (this.#options.scoreOnly[index]) return;
    output.text += delta.text;
    output.ids.push(...delta.tokens);
    for (const each of delta.logprobs ?? []) {
      output.entries.push(this.#entry(each));
      output.top.push(this.#top(each));
    }
  }

  async #result(index: number, finish: FinishReason | null): Promise<Record<string, unknown>> {
    const state = this.#run.states[index]!;
    const output = this.#outputs[index]!;
    const withTop = output.top.some((each) => each.length > 0);
    const promptTokens = finish?.type === "abort"
      ? state.promptTokens
      : (await state.generation.promptIds).length;
    return {
      ...(this.#options.hasText ? { text: output.text } : {}),
      output_ids: output.ids,
      meta_info: {
        id: state.id,
        finish_reason: finish && finishReason(finish, output.ids.length),
        prompt_tokens: promptTokens,
        completion_tokens: output.ids.length,
        cached_tokens: state.cachedTokens,
        e2e_latency: ((state.finishedAt ?? performance.now()) - this.#run.startedAt) / 1000,
        ...(output.entries.length > 0 ? { output_token_logprobs: output.entries } : {}),
        ...(withTop ? { output_top_logprobs: output.top } : {}),
        ...(output.promptEntries ? { input_token_logprobs: output.promptEntries } : {}),
        ...(output.promptTop?.some((each) => each?.length) ? { input_top_logprobs: output.promptTop } : {}),
      },
    };
  }

  #entry({ logprob, id, text }: { logprob: number; id: number; text: string }): Entry {
    return [finiteLogprob(logprob), id, this.#options.textInLogprobs ? text : null];
  }

  #top({ top }: TextLogprob): Entry[] {
    return top.map((each) => this.#entry(each));
  }
}

function finishReason(finish: FinishReason, length: number): Record<string, unknown> {
  switch (finish.type) {
    case "stop":
      return { type: "stop", matched: finish.matched };
    case "length":
      return { type: "length", length };
    case "abort":
    case "error":
      return { type: "abort", message: finish.type === "error" ? finish.message : "the request was aborted" };
  }
}
