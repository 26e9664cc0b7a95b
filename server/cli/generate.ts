// `radish generate`: one prompt (argument, file or standard input) → text on standard output as it comes; or a file
// of prompts (`--batch`), all at once through the continuous batch, one JSON object a line.

import { runBatch } from "./generate_batch.ts";
import { type Command, type OptionValues, UsageError } from "./command.ts";
import { commonOptionSpecs, engineOptionSpecs } from "./engine_options.ts";
import { runOne } from "./generate_one.ts";
import { onInterrupt } from "./interrupt.ts";
import { promptInput, type PromptOptions } from "./prompt.ts";
import { samplingOptionSpecs, samplingParams } from "./sampling_options.ts";
import { type Session, startSession } from "./session.ts";

/** The subcommand. */
export const generate: Command = {
  name: "generate",
  summary: "one prompt in, text out",
  positionals: "[PROMPT]",
  maxPositionals: 1,
  options: [
    { name: "chat", kind: "flag", help: "apply the chat template", fallback: "when the model has one" },
    { name: "raw", kind: "flag", help: "continue the text as it is" },
    { name: "system", kind: "text", value: "TEXT", help: "system message" },
    { name: "file", short: "f", kind: "text", value: "PATH", help: "read the prompt from a file" },
    {
      name: "batch",
      kind: "text",
      value: "JSONL",
      help: "a prompt or conversation a line; results as JSON lines",
    },
    { name: "json", kind: "flag", help: "print one JSON object: text, token counts, timings" },
    ...samplingOptionSpecs,
    ...engineOptionSpecs,
    ...commonOptionSpecs,
  ],
  example: 'radish generate "What is 23 plus 48?" --temperature 0',
  run,
};

async function run(values: OptionValues, positionals: readonly string[]): Promise<number> {
  const prompt: PromptOptions = {
    chat: values.flag("chat")
      ? true
      : values.flag("raw") || values.flag("skip-tokenizer-init")
      ? false
      : null,
    system: values.text("system") ?? null,
    tokenIds: values.flag("skip-tokenizer-init"),
  };
  if (values.flag("chat") && values.flag("raw")) throw new UsageError("--chat and --raw exclude each other");
  if (prompt.system !== null && prompt.chat === false) {
    throw new UsageError("--system needs a chat template: no --raw");
  }
  samplingParams(values, {}); // bounds, before anything is started
  const batch = values.text("batch");
  const text = batch === undefined ? await readPrompt(values, positionals) : null;

  using interrupt = onInterrupt();
  await using session = await startSession(values, false);
  if (batch !== undefined) return await runBatch(session, batch, prompt, values, interrupt.signal);
  const { engine } = session;
  const input = promptInput(text ?? "", prompt, engine.model);
  const params = samplingParams(values, engine.model.generationDefaults);
  const outcome = await runOne(session, { input, params, signal: interrupt.signal }, !values.flag("json"));
  return finish(session, outcome, values.flag("json"));
}

function finish(session: Session, outcome: Awaited<ReturnType<typeof runOne>>, json: boolean): number {
  const { completion } = outcome;
  if (completion.finish.type === "error") throw new Error(completion.finish.message);
  if (json) {
    console.log(JSON.stringify({
      text: completion.text,
      finish_reason: completion.finish.type,
      ...(completion.finish.type === "stop" ? { matched: completion.finish.matched } : {}),
      model: session.engine.model.id,
      device: session.engine.model.device.description,
      prompt_tokens: completion.promptIds.length,
      completion_tokens: completion.tokens.length,
      cached_tokens: completion.cachedTokens,
      token_ids: completion.tokens,
      timings: { load_ms: Math.round(session.loadMilliseconds), ...outcome.timings },
    }));
  } else if (!completion.text.endsWith("\n")) {
    console.log();
  }
  return completion.finish.type === "abort" ? 130 : 0;
}

/** The prompt from exactly one of argument, file and standard input. */
async function readPrompt(values: OptionValues, positionals: readonly string[]): Promise<string> {
  const file = values.text("file");
  if (file !== undefined && positionals.length > 0) throw new UsageError("give a prompt or --file, not both");
  let text = positionals[0];
  if (file !== undefined) text = await readText(file);
  else if (text === undefined || text === "-") {
    if (Deno.stdin.isTerminal()) {
      throw new UsageError("no prompt: give one as an argument, with --file, or on standard input");
    }
    text = (await new Response(Deno.stdin.readable).text()).replace(/\r?\n$/, "");
  }
  if (text === "") throw new UsageError("the prompt is empty");
  return text;
}

async function readText(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    throw new Error(
      `cannot read ${path}: ${error instanceof Error ? error.message.split(" (os")[0] : error}`,
    );
  }
}
