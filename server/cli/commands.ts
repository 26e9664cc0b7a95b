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

/** What the help says of a command. */
interface About {
  readonly summary: string;
  /** For the usage line, for example "[PROMPT]". */
  readonly takes?: string;
  /** A command line that works. */
  readonly example: string;
}

function define<T>(
  name: string,
  { summary, takes, example }: About,
  options: (all: boolean) => Parser<"sync", T, unknown>,
  load: () => Promise<(options: T) => Promise<number>>,
): Command {
  return {
    name,
    parser(whole, all = false) {
      const about = {
        brief: [text(summary)],
        footer: [text(`example: ${example}`)],
        usageLine: [
          { type: "literal" as const, value: "[options]" },
          ...(takes === undefined ? [] : [{ type: "literal" as const, value: takes }]),
        ],
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
    {
      summary: "one prompt in, text out; standard input is added to the prompt",
      takes: "[PROMPT]",
      example: 'radish generate "What is 23 plus 48?" --temperature 0',
    },
    generateOptions,
    async () => (await import("./generate.ts")).generate,
  ),
  define(
    "serve",
    {
      summary: "an OpenAI-compatible HTTP server",
      example: "radish serve --model Qwen/Qwen3-0.6B --port 8000",
    },
    serveOptions,
    async () => (await import("./serve.ts")).serve,
  ),
  define(
    "chat",
    {
      summary: "a conversation in the terminal",
      example: 'radish chat --system "Answer in capital letters."',
    },
    chatOptions,
    async () => (await import("./chat.ts")).chat,
  ),
  define(
    "embed",
    {
      summary: "one text in, its embedding out as JSON",
      takes: "[TEXT]",
      example: 'radish embed "Hello!" --model Qwen/Qwen3-Embedding-0.6B',
    },
    embedOptions,
    async () => (await import("./embed.ts")).embed,
  ),
  define(
    "run",
    {
      summary: "chat or answer with a model, pulled if it is not here",
      takes: "MODEL [PROMPT]",
      example: 'radish run qwen3:0.6b "Why is the sky blue?"',
    },
    runOptions,
    async () => (await import("./run_model.ts")).runModel,
  ),
  define(
    "launch",
    {
      summary: "a coding agent on this engine: claude, codex or opencode",
      takes: "TOOL [-- ARGUMENTS]",
      example: "radish launch claude --model Qwen/Qwen3-8B",
    },
    launchOptions,
    async () => (await import("./launch.ts")).launch,
  ),
  define(
    "pull",
    {
      summary: "download a model from the Hugging Face Hub or ModelScope",
      takes: "MODEL",
      example: "radish pull Qwen/Qwen3-0.6B",
    },
    pullOptions,
    async () => (await import("./pull.ts")).pull,
  ),
  define(
    "list",
    { summary: "models in the cache, and whether they can run", example: "radish list" },
    listOptions,
    async () => (await import("./list.ts")).list,
  ),
  define(
    "rm",
    {
      summary: "remove a model from the cache",
      takes: "MODEL",
      example: "radish rm Qwen/Qwen3-0.6B",
    },
    removeOptions,
    async () => (await import("./remove.ts")).remove,
  ),
  define(
    "bench",
    {
      summary: "prefill and decode speed of a model on this machine",
      example: "radish bench --model Qwen/Qwen3-0.6B --batches 1,8",
    },
    benchOptions,
    async () => (await import("./bench.ts")).bench,
  ),
  define(
    "doctor",
    { summary: "what this machine can run on, and what is missing", example: "radish doctor --fix" },
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
