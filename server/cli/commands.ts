// The commands: what each takes, and the module that does it, which is loaded only when it is chosen.

import { or } from "@optique/core/constructs";
import { text } from "@optique/core/message";
import { map } from "@optique/core/modifiers";
import type { Parser } from "@optique/core/parser";
import { command as commandParser, constant } from "@optique/core/primitives";
import {
  benchOptions,
  chatOptions,
  doctorOptions,
  embedOptions,
  generateOptions,
  launchOptions,
  listOptions,
  pullOptions,
  removeOptions,
  runOptions,
  serveOptions,
} from "./command_options.ts";

/** Does a command; gives the exit code. Throws `UsageError` for wrong usage, any other error for a failure. */
export type Action = () => Promise<number>;

/** A command. */
export interface Command {
  /** As it is typed. */
  readonly name: string;
  /** Takes its name and its options. `whole` false takes the name alone; `all` shows the rare options in the help. */
  parser(whole: boolean, all?: boolean): Parser<"sync", Action, unknown>;
}

/** `usage` is how it is called, behind its name; `example` a command line that works. */
function define<T>(
  name: string,
  summary: string,
  example: string,
  usage: string,
  options: (all: boolean) => Parser<"sync", T, unknown>,
  load: () => Promise<(options: T) => Promise<number>>,
): Command {
  return {
    name,
    parser(whole, all = false) {
      const about = {
        brief: [text(summary)],
        footer: [text(`example: ${example}`)],
        usageLine: [{ type: "literal" as const, value: usage }],
      };
      const taken = whole
        ? map(options(all), (values) => async () => await (await load())(values))
        : constant(() => Promise.resolve(0));
      return commandParser(name, taken, about);
    },
  };
}

/** In the order of the help screen. */
export const commands: readonly Command[] = [
  define(
    "generate",
    "one prompt in, text out; standard input is added to the prompt",
    'radish generate "What is 23 plus 48?" --temperature 0',
    "[options] [PROMPT]",
    generateOptions,
    async () => (await import("./generate.ts")).generate,
  ),
  define(
    "serve",
    "an OpenAI-compatible HTTP server",
    "radish serve --model Qwen/Qwen3-0.6B --port 8000",
    "[options]",
    serveOptions,
    async () => (await import("./serve.ts")).serve,
  ),
  define(
    "chat",
    "a conversation in the terminal",
    'radish chat --system "Answer in capital letters."',
    "[options]",
    chatOptions,
    async () => (await import("./chat.ts")).chat,
  ),
  define(
    "embed",
    "one text in, its embedding out as JSON",
    'radish embed "Hello!" --model Qwen/Qwen3-Embedding-0.6B',
    "[options] [TEXT]",
    embedOptions,
    async () => (await import("./embed.ts")).embed,
  ),
  define(
    "run",
    "chat or answer with a model, pulled if it is not here",
    'radish run qwen3:0.6b "Why is the sky blue?"',
    "[options] MODEL [PROMPT]",
    runOptions,
    async () => (await import("./run_model.ts")).runModel,
  ),
  define(
    "launch",
    "a coding agent on this engine: claude, codex or opencode",
    "radish launch claude --model Qwen/Qwen3-8B",
    "[options] TOOL [-- ARGUMENTS]",
    launchOptions,
    async () => (await import("./launch.ts")).launch,
  ),
  define(
    "pull",
    "download a model from the Hugging Face Hub or ModelScope",
    "radish pull Qwen/Qwen3-0.6B",
    "[options] MODEL",
    pullOptions,
    async () => (await import("./pull.ts")).pull,
  ),
  define(
    "list",
    "models in the cache, and whether they can run",
    "radish list",
    "[options]",
    listOptions,
    async () => (await import("./list.ts")).list,
  ),
  define(
    "rm",
    "remove a model from the cache",
    "radish rm Qwen/Qwen3-0.6B",
    "[options] MODEL",
    removeOptions,
    async () => (await import("./remove.ts")).remove,
  ),
  define(
    "bench",
    "prefill and decode speed of a model on this machine",
    "radish bench --model Qwen/Qwen3-0.6B --batches 1,8",
    "[options]",
    benchOptions,
    async () => (await import("./bench.ts")).bench,
  ),
  define(
    "doctor",
    "what this machine can run on, and what is missing",
    "radish doctor --fix",
    "[options]",
    doctorOptions,
    async () => (await import("./doctor.ts")).doctor,
  ),
];

/**
 * Parses a whole command line. Only the commands that it mentions get their options: to build those of all takes
 * longer than to parse.
 */
export function rootParser(args: readonly string[], all = false): Parser<"sync", Action, unknown> {
  const parsers = commands.map((command) => command.parser(args.includes(command.name), all));
  return or(...parsers as [Parser<"sync", Action, unknown>, Parser<"sync", Action, unknown>]);
}
