// `generate --batch FILE`: every line of a JSONL file is a prompt; all run at once through the engine's continuous
// batch, and results are printed as JSON lines in the order of the input. A bad line fails alone.

import type { Completion } from "../../engine/engine.ts";
import type { SamplingParams } from "../../engine/params.ts";
import type { ChatMessage, PromptInput } from "../../engine/messages.ts";
import { printLine } from "./output.ts";
import { promptInput, type PromptOptions } from "./prompt.ts";
import { readText } from "./read_prompt.ts";
import type { Session } from "./session.ts";

/** Requests submitted ahead of the one being printed. */
const window = 256;

/** Returns 0 when every line succeeded, 1 otherwise, 130 when interrupted. */
export async function runBatch(
  session: Session,
  path: string,
  prompt: PromptOptions,
  params: SamplingParams,
  signal: AbortSignal,
): Promise<number> {
  const { progress } = session;
  const lines = (await readLines(path)).filter(({ text }) => text.trim() !== "");
  const results: Promise<Completion | Error>[] = [];
  let failed = false, done = 0;
  for (let i = 0; i < lines.length; i++) {
    while (results.length < Math.min(lines.length, i + window)) {
      const line = lines[results.length]!;
      results.push(start(session, line.text, prompt, params, signal));
    }
    const result = await results[i]!;
    const at = { line: lines[i]!.number };
    const error = result instanceof Error
      ? result.message
      : result.finish.type === "error"
      ? result.finish.message
      : null;
    if (error !== null) printLine(JSON.stringify({ ...at, error }));
    else printLine(JSON.stringify({ ...at, ...summary(result as Completion) }));
    failed ||= error !== null;
    progress.update("batch", ++done / lines.length);
  }
  progress.clear();
  if (signal.aborted) return 130;
  return failed ? 1 : 0;
}

/** What is said of an answer. */
export function summary(completion: Completion) {
  return {
    text: completion.text,
    finish_reason: completion.finish.type,
    prompt_tokens: completion.promptIds.length,
    completion_tokens: completion.tokens.length,
    cached_tokens: completion.cachedTokens,
  };
}

async function start(
  { engine }: Session,
  text: string,
  prompt: PromptOptions,
  params: SamplingParams,
  signal: AbortSignal,
): Promise<Completion | Error> {
  try {
    const line = parseLine(text);
    const input: PromptInput = typeof line.prompt === "string"
      ? promptInput(line.prompt, prompt, engine.model)
      : { type: "chat", messages: line.prompt };
    return await engine.submit({ input, params: { ...params, ...line.params }, signal }).complete();
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** A JSON string, or an object with `prompt` or `messages` and optionally max_tokens, temperature, seed. */
function parseLine(text: string): { prompt: string | ChatMessage[]; params: Partial<SamplingParams> } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error("the line is not JSON");
  }
  if (typeof value === "string") return { prompt: value, params: {} };
  if (typeof value !== "object" || value === null) throw new Error("a line is a string or an object");
  const fields = value as Record<string, unknown>;
  const number = (name: string, min: number, max: number): number | undefined => {
    const given = fields[name];
    if (given === undefined) return undefined;
    if (typeof given === "number" && given >= min && given <= max) return given;
    throw new Error(`${name} must be a number from ${min} to ${max}`);
  };
  const maxTokens = number("max_tokens", 1, 1 << 24);
  const seed = number("seed", 0, Number.MAX_SAFE_INTEGER);
  const temperature = number("temperature", 0, 2);
  const params = {
    ...(maxTokens === undefined ? {} : { maxTokens: Math.floor(maxTokens) }),
    ...(temperature === undefined ? {} : { temperature }),
    ...(seed === undefined ? {} : { seed: Math.floor(seed) }),
  };
  if (typeof fields.prompt === "string") return { prompt: fields.prompt, params };
  if (Array.isArray(fields.messages) && fields.messages.every(isMessage)) {
    return { prompt: fields.messages, params };
  }
  throw new Error('a line needs "prompt" (text) or "messages" (with role and content)');
}

function isMessage(value: unknown): value is ChatMessage {
  return typeof value === "object" && value !== null && "role" in value && typeof value.role === "string" &&
    "content" in value && (typeof value.content === "string" || value.content === null);
}

async function readLines(path: string): Promise<{ number: number; text: string }[]> {
  const text = path === "-" ? await new Response(Deno.stdin.readable).text() : await readText(path);
  return text.split("\n").map((line, i) => ({ number: i + 1, text: line }));
}
