// From an argument list to an exit code: finds the command, parses its options, turns every error into one line.

import { formatMessage, type Message, text } from "@optique/core/message";
import { type Parser, parseSync } from "@optique/core/parser";
import { type Action, commands, rootParser } from "./commands.ts";
import { Interrupted } from "./interrupt.ts";
import { UsageError } from "./option.ts";
import { BrokenPipe, printLine } from "./output.ts";
import { helpWidth } from "./terminal.ts";
import { version, versionText } from "./version.ts";

/** Runs a command line. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 141 nobody reads the output. */
export async function runCommand(args: readonly string[]): Promise<number> {
  try {
    const action = await parse(args);
    return typeof action === "number" ? action : await action();
  } catch (error) {
    return report(error, args.includes("--verbose"));
  }
}

const helpOptions = ["-h", "--help", "--help-all"];

/** What to do, or the exit code of what has been done: help, version, completions. */
async function parse(args: readonly string[]): Promise<Action | number> {
  const command = commands.find(({ name }) => name === args[0]);
  if (command === undefined || args.some((arg) => helpOptions.includes(arg))) return await parseAny(args);
  // Without the other commands, help and completions this takes half the time.
  const result = parseSync(command.parser(true), args);
  return result.success ? result.value : refuse(result.error);
}

async function parseAny(args: readonly string[]): Promise<Action | number> {
  const { runParserSync } = await import("@optique/core/facade");
  const all = args.includes("--help-all");
  const plain = args.map((arg) => arg === "--help-all" ? "--help" : arg);
  return runParserSync<Parser<"sync", Action, unknown>, number, never>(
    rootParser(args, all),
    "radish",
    plain,
    {
      brief: [text(`radish ${version}: a large-language-model inference engine in one program`)],
      examples: [text('radish generate "What is 23 plus 48?"')],
      footer: [text("radish COMMAND --help explains a command, --help-all its rare options, too.")],
      usageLine: [{ type: "literal", value: "COMMAND [options]" }],
      help: { command: true, option: { names: ["-h", "--help"] }, onShow: () => 0 },
      version: {
        value: args.some((arg) => ["-V", "--version", "version"].includes(arg)) ? versionText() : version,
        command: { hidden: true },
        option: { names: ["-V", "--version"] },
        onShow: () => 0,
      },
      completion: { command: { names: ["completions"] }, onShow: () => 0 },
      colors: false,
      maxWidth: helpWidth(),
      termWidth: "auto",
      showDefault: { prefix: " [", suffix: "]" },
      aboveError: "none",
      stdout: printLine,
      stderr: () => {},
      onError: (_code, error) =>
        args.length === 0
          ? refuse([
            text(
              `no command given: one of ${commands.map(({ name }) => name).join(", ")}; see radish --help`,
            ),
          ])
          : refuse(error),
    },
  );
}

function refuse(error: Message): never {
  // The library puts "Did you mean …?" two lines further down.
  throw new UsageError(formatMessage(error, { quotes: false }).replaceAll(/\s+/g, " "));
}

function report(error: unknown, verbose: boolean): number {
  if (error instanceof Interrupted) return 130;
  if (error instanceof BrokenPipe) return 141;
  console.error(`radish: ${error instanceof Error ? error.message : String(error)}`);
  if (verbose && error instanceof Error && error.stack) console.error(error.stack);
  return error instanceof UsageError ? 2 : 1;
}
