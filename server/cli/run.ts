// From an argument list to an exit code: finds the command, parses its options, turns every error into one line.

import { type Command, helpText, parseOptions, UsageError } from "./command.ts";
import { version, versionText } from "./version.ts";

/** Name, summary, and the module that has the rest. */
const commands: Readonly<Record<string, { summary: string; load: () => Promise<Command> }>> = {
  generate: {
    summary: "one prompt in, text out",
    load: async () => (await import("./generate.ts")).generate,
  },
  serve: {
    summary: "an OpenAI-compatible HTTP server",
    load: async () => (await import("./serve.ts")).serve,
  },
  chat: {
    summary: "a conversation in the terminal",
    load: async () => (await import("./chat.ts")).chat,
  },
  pull: {
    summary: "download a model from the Hugging Face Hub or ModelScope",
    load: async () => (await import("./pull.ts")).pull,
  },
  list: {
    summary: "models in the cache, and whether they can run",
    load: async () => (await import("./list.ts")).list,
  },
  bench: {
    summary: "prefill and decode speed of a model on this machine",
    load: async () => (await import("./bench.ts")).bench,
  },
  doctor: {
    summary: "what this machine can run on, and what is missing",
    load: async () => (await import("./doctor.ts")).doctor,
  },
  completions: {
    summary: "a completion script for your shell",
    load: async () => (await import("./completions.ts")).completions(allCommands),
  },
};

/** Every subcommand, loaded. */
export async function allCommands(): Promise<readonly Command[]> {
  return await Promise.all(Object.values(commands).map(({ load }) => load()));
}

function overview(): string {
  const width = Math.max(...Object.keys(commands).map((name) => name.length)) + 2;
  return [
    `radish ${version} — a large-language-model inference engine in one executable`,
    "",
    "usage: radish <command> [options]",
    "",
    ...Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(width)}${summary}`),
    "",
    "radish <command> --help explains a command; radish --version prints the version.",
    'example: radish generate "What is 23 plus 48?"',
  ].join("\n");
}

/** Runs a command line. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. */
export async function runCommand(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  try {
    if (name === undefined) throw new UsageError(`no command given\n\n${overview()}`);
    if (["--help", "-h", "help"].includes(name)) return print(overview());
    if (["--version", "-V", "version"].includes(name)) return print(versionText());
    const entry = Object.hasOwn(commands, name) ? commands[name] : undefined;
    if (!entry) {
      throw new UsageError(`unknown command "${name}" (there are ${Object.keys(commands).join(", ")})`);
    }
    const command = await entry.load();
    if (rest.includes("--help") || rest.includes("-h")) return print(helpText(command));
    const { values, positionals } = parseOptions(command, rest);
    return await command.run(values, positionals);
  } catch (error) {
    return report(error, args.includes("--verbose"));
  }
}

function print(text: string): number {
  console.log(text);
  return 0;
}

function report(error: unknown, verbose: boolean): number {
  const message = error instanceof Error ? error.message : String(error);
  console.error(`radish: ${message}`);
  if (verbose && error instanceof Error && error.stack) console.error(error.stack);
  return error instanceof UsageError ? 2 : 1;
}
