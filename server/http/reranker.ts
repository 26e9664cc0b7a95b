// How relevant a document is to a query, by what kind of model is served.
//
// Qwen3-Reranker is a decoder that was trained to answer "yes" or "no" behind one fixed prompt; the score is the share
// of "yes" in the probability of both. Prompt and default instruction are those of its model card
// (huggingface.co/Qwen/Qwen3-Reranker-0.6B), word by word, because the model knows no others. Both probabilities
// come from scoring "yes" as the next token with the best alternatives; where "no" is not among them, it is scored, too,
// which costs a page or less, for the prompt is cached by then.
//
// An embedding model's score is the cosine of both embeddings.

import type { Context } from "hono";
import { defaultSamplingParams, limits } from "../../engine/params.ts";
import type { Delta } from "../../engine/messages.ts";
import type { AppEnv } from "./answer.ts";
import { embed } from "./embedder.ts";
import type { ServedEngine } from "./engine_api.ts";
import { invalid } from "./errors.ts";
import {
  type BatchInput,
  type BatchUsage,
  computeAll,
  encodeAll,
  requireRoom,
  type TextInput,
} from "./prompt_batch.ts";
import type { Service } from "./service.ts";
import { cosine } from "./vectors.ts";

const before =
  "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the " +
  'Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n';
const behind = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";
const webSearch = "Given a web search query, retrieve relevant passages that answer the query";

/** A query and a document, with the fields that they came in. */
export interface Pair {
  /** What is looked for. */
  readonly query: TextInput;
  /** Where. */
  readonly document: TextInput;
}

/** What may be asked of scores. */
export interface ScoreOptions {
  /** What counts as relevant; null: what a web search looks for. */
  readonly instruction: string | null;
  /** Separates cached prefixes. */
  readonly salt: string;
  /** Lower comes first. */
  readonly priority: number;
}

/** Scores in the order of the pairs. */
export interface Scores {
  /** From 0 to 1, or cosines from -1. */
  readonly scores: readonly number[];
  /** What it took. */
  readonly usage: BatchUsage;
}

/**
 * Scores pairs.
 * @throws {ApiError} 400 naming the text that is too long, before anything is computed, or where the model cannot
 */
export async function score(
  c: Context<AppEnv>,
  service: Service,
  pairs: readonly Pair[],
  options: ScoreOptions,
): Promise<Scores> {
  switch (service.task) {
    case "rerank":
      return await judge(c, service, pairs, options);
    case "embed":
      return await compare(c, service, pairs, options);
    case "generate": {
      const message =
        `${service.modelName} neither reranks nor embeds: serve a Qwen3-Reranker or an embedding ` +
        "model, or say --task rerank or --task embed";
      throw invalid("model", message, "unsupported");
    }
  }
}

async function compare(
  c: Context<AppEnv>,
  service: Service,
  pairs: readonly Pair[],
  options: ScoreOptions,
): Promise<Scores> {
  // A query that is compared with many documents is embedded once.
  const places = new Map<string, number>();
  const inputs: BatchInput[] = [];
  const place = (input: TextInput): number => {
    const known = places.get(input.value);
    if (known !== undefined) return known;
    places.set(input.value, inputs.length);
    return inputs.push(input) - 1;
  };
  const ends = pairs.map(({ query, document }) => [place(query), place(document)] as const);
  const { vectors, usage } = await embed(c, service, inputs, options);
  return { scores: ends.map(([a, b]) => cosine(vectors[a]!, vectors[b]!)), usage };
}

async function judge(
  c: Context<AppEnv>,
  service: Service,
  pairs: readonly Pair[],
  { instruction, salt, priority }: ScoreOptions,
): Promise<Scores> {
  const engine = service.readyEngine, client = c.get("client");
  const [head, tail, yes, no] = await frame(service, engine, client);
  const bodies = pairs.map(({ query, document }) => ({
    value: `<Instruct>: ${instruction ?? webSearch}\n<Query>: ${query.value}\n<Document>: ${document.value}`,
    param: document.param,
  }));
  const encoded = await encodeAll(service, engine, client, bodies, {
    addSpecialTokens: false,
    foreign: true,
  });
  const prompts = encoded.map((body) => Uint32Array.from([...head, ...body, ...tail, yes]));
  requireRoom(prompts, bodies, engine.model.contextLength);
  const scored = (ids: Uint32Array) => ({
    ids,
    params: {
      ...defaultSamplingParams,
      temperature: 0,
      maxTokens: 1,
      promptLogprobs: limits.logprobs,
      promptLogprobsStart: ids.length - 1,
      priority,
    },
  });
  const first = await computeAll(c, service, prompts.map(scored), salt);
  const found = first.deltas.map((delta) => ({ yes: logprobOf(delta, yes), no: logprobOf(delta, no) }));
  const missing = found.flatMap((logprobs, i) => logprobs.no === null ? [i] : []);
  const again = missing.map((i) => prompts[i]!.with(-1, no));
  const second = again.length === 0 ? null : await computeAll(c, service, again.map(scored), salt);
  second?.deltas.forEach((delta, i) => found[missing[i]!]!.no = logprobOf(delta, no));
  const scores = found.map(({ yes, no }) => 1 / (1 + Math.exp((no ?? -Infinity) - (yes ?? -Infinity))));
  return { scores: scores.map((each) => Number.isNaN(each) ? 0 : each), usage: first.usage };
}

/** Tokens around a pair, and those of both answers. @throws {ApiError} 400 where the answers are no single tokens */
async function frame(
  service: Service,
  engine: ServedEngine,
  client: string,
): Promise<[head: Uint32Array, tail: Uint32Array, yes: number, no: number]> {
  const parts = [before, behind, "yes", "no"].map((value) => ({ value, param: "model" }));
  const [head, tail, yes, no] = await encodeAll(service, engine, client, parts, { addSpecialTokens: false });
  if (yes!.length === 1 && no!.length === 1) return [head!, tail!, yes![0]!, no![0]!];
  const message = `"yes" and "no" are no single tokens of ${service.modelName}: it is no Qwen3-Reranker`;
  throw invalid("model", message, "unsupported");
}

/** The log-probability of a token at the prompt's last place, if it is told. */
function logprobOf({ promptLogprobs }: Delta, token: number): number | null {
  const last = promptLogprobs?.at(-1) ?? null;
  if (last === null) throw new Error("the engine answered without log-probabilities");
  const entry = last.id === token ? last : last.top.find(({ id }) => id === token);
  return entry?.logprob ?? null;
}
