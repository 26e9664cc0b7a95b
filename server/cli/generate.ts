// `radish generate`: one prompt (argument, file, standard input) → text on standard output as it comes; or a file of
// prompts (`--batch`), all at once through the continuous batch, one JSON object a line.

import type { generateOptions, Parsed } from "./command_options.ts";
import { runBatch, summary } from "./generate_batch.ts";
import { runOne } from "./generate_one.ts";
import { onInterrupt } from "./interrupt.ts";
import { UsageError } from "./option.ts";
import { printLine, writeOut } from "./output.ts";
import { outputGrammar, outputSource } from "./output_grammar.ts";
import { promptInput, type PromptOptions } from "./prompt.ts";
import { readPrompt } from "./read_prompt.ts";
import { checkSampling, samplingParams } from "./sampling_options.ts";
import { type Session, startSession } from "./session.ts";

/** Runs the command. */
export async function generate(
  { own, sampling, ...options }: Parsed<typeof generateOptions>,
): Promise<number> {
  const tokenIds = options.engine.skipTokenizer;
  const prompt: PromptOptions = {
    chat: own.chat ? true : own.raw || tokenIds ? false : null,
    system: own.system ?? null,
    tokenIds,
  };
  if (own.chat && own.raw) throw new UsageError("--chat and --raw exclude each other");
  if (prompt.system !== null && prompt.chat === false) {
    throw new UsageError("--system needs a chat template: no --raw");
  }
  checkSampling(sampling);
  const source = await outputSource(own);
  const text = own.batch === undefined ? await readPrompt(own.words, own.file, options.common.quiet) : "";

  using interrupt = onInterrupt();
  await using session = await startSession(options, false);
  const { engine } = session;
  const params = {
    ...samplingParams(sampling, engine.model.generationDefaults),
    grammar: outputGrammar(source, engine.model, prompt.chat),
  };
  if (own.batch !== undefined) return await runBatch(session, own.batch, prompt, params, interrupt.signal);
  const input = promptInput(text, prompt, engine.model);
  const outcome = await runOne(session, { input, params, signal: interrupt.signal }, !own.json);
  return finish(session, outcome, own.json);
}

function finish(session: Session, outcome: Awaited<ReturnType<typeof runOne>>, json: boolean): number {
  const { completion } = outcome;
  if (completion.finish.type === "error") throw new Error(completion.finish.message);
  if (json) {
    printLine(JSON.stringify({
      ...summary(completion),
      ...(completion.finish.type === "stop" ? { matched: completion.finish.matched } : {}),
      model: session.engine.model.id,
      device: session.engine.model.device.description,
      token_ids: completion.tokens,
      timings: { load_ms: Math.round(session.loadMilliseconds), ...outcome.timings },
    }));
  } else if (!completion.text.endsWith("\n")) {
    writeOut("\n");
  }
  return completion.finish.type === "abort" ? 130 : 0;
}
