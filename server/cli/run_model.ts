// `radish run MODEL [PROMPT]`: the habit of people who come from Ollama. The model is pulled if it is not here; with a
// prompt (or a pipe) it is answered, without one a conversation begins.

import { chat } from "./chat.ts";
import type { Parsed, runOptions } from "./command_options.ts";
import { generate } from "./generate.ts";

/** Runs the command. */
export function runModel({ words, own, ...options }: Parsed<typeof runOptions>): Promise<number> {
  const [name, ...prompt] = words;
  const rest = { ...options, engine: { ...options.engine, name } };
  if (prompt.length === 0 && Deno.stdin.isTerminal()) return chat({ own, ...rest });
  const nothing = {
    file: undefined,
    batch: undefined,
    jsonSchema: undefined,
    regex: undefined,
    grammar: undefined,
  };
  return generate({
    own: { words: prompt, chat: false, raw: false, json: false, system: own.system, ...nothing },
    ...rest,
  });
}
