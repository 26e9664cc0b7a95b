// `radish embed`: a text (argument, file, standard input) → its embedding, one JSON object; with --lines, every line is
// a text, and all are embedded together.

import { embeddingPrompt, embeddingVector } from "../http/vectors.ts";
import type { embedOptions, Parsed } from "./command_options.ts";
import { onInterrupt } from "./interrupt.ts";
import { UsageError } from "./option.ts";
import { printLine } from "./output.ts";
import { promptInput } from "./prompt.ts";
import { readPrompt } from "./read_prompt.ts";
import { startSession } from "./session.ts";

/** Texts that are with the engine at a time. */
const portion = 128;

/** Runs the command. */
export async function embed({ own, ...options }: Parsed<typeof embedOptions>): Promise<number> {
  const text = await readPrompt(own.words, own.file, options.common.quiet);
  const texts = own.lines ? text.split(/\r?\n/).filter((line) => line !== "") : [text];
  using interrupt = onInterrupt();
  await using session = await startSession(options, false);
  const { engine } = session, { model } = engine;
  const dimensions = own.dimensions ?? null;
  if (dimensions !== null && dimensions > model.config.hiddenSize) {
    throw new UsageError(`--dimensions: this model's embeddings have ${model.config.hiddenSize} numbers`);
  }
  const asIs = { chat: false, system: null, tokenIds: options.engine.skipTokenizer };
  const one = async (each: string) => {
    const { ids } = await engine.encode(promptInput(each, asIs, model));
    const { ids: computed, params } = embeddingPrompt(ids, model);
    const input = { type: "ids", ids: computed } as const;
    const { embedding, finish } = await engine.submit({ input, params, signal: interrupt.signal }).complete();
    if (finish.type === "error") throw new Error(finish.message);
    if (finish.type === "abort") return null;
    return { prompt_tokens: ids.length, embedding: [...embeddingVector(embedding, model, dimensions)] };
  };
  for (let at = 0; at < texts.length; at += portion) {
    for (const answer of await Promise.all(texts.slice(at, at + portion).map(one))) {
      if (answer === null) return 130;
      printLine(JSON.stringify({ model: model.id, ...answer }));
    }
  }
  return 0;
}
