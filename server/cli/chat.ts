// `radish chat`: a conversation in the terminal. Ctrl-C ends the answer, Ctrl-D or /exit the program. Piped input
// is answered line by line, with nothing but the answers on standard output.

import { writeOut } from "./output.ts";
import { type Command, type OptionValues, UsageError } from "./command.ts";
import { Conversation } from "./conversation.ts";
import { commonOptionSpecs, engineOptionSpecs } from "./engine_options.ts";
import { type LineReader, StreamReader, TerminalReader } from "./line_reader.ts";
import { samplingOptionSpecs, samplingParams } from "./sampling_options.ts";
import { startSession } from "./session.ts";

/** The subcommand. */
export const chat: Command = {
  name: "chat",
  summary: "a conversation in the terminal",
  positionals: "",
  maxPositionals: 0,
  options: [
    { name: "system", kind: "text", value: "TEXT", help: "system message" },
    { name: "stats", kind: "flag", help: "speed and token counts after each answer" },
    { name: "hide-reasoning", kind: "flag", help: "do not show <think> text" },
    ...samplingOptionSpecs,
    ...engineOptionSpecs,
    ...commonOptionSpecs,
  ],
  example: 'radish chat --system "Answer in capital letters."',
  run,
};

async function run(values: OptionValues): Promise<number> {
  samplingParams(values, {}); // Bounds, before anything is started.
  if (values.flag("skip-tokenizer-init")) throw new UsageError("chat needs a tokenizer");
  await using session = await startSession(values, false);
  const { engine } = session;
  if (!engine.model.hasChatTemplate) {
    throw new Error(`${engine.model.id} has no chat template; use generate --raw`);
  }

  const terminal = Deno.stdin.isTerminal();
  await using lines: LineReader = terminal ? new TerminalReader() : new StreamReader(Deno.stdin.readable);
  const conversation = new Conversation(engine, {
    params: samplingParams(values, engine.model.generationDefaults),
    system: values.text("system") ?? null,
    stats: values.flag("stats"),
    color: Deno.stdout.isTerminal() && !Deno.noColor,
    showReasoning: !values.flag("hide-reasoning"),
  }, {
    write: writeOut,
    note: (text) => console.error(text),
    reading: (fraction) => session.progress.reading(fraction),
    save: (path, text) => Deno.writeTextFile(path, text),
  });
  if (terminal && !values.flag("quiet")) console.error(`${engine.model.id}: /help explains, Ctrl-D leaves`);

  using interrupts = onInterrupts(terminal);
  while (true) {
    const line = await Promise.race([lines.read("> "), interrupts.ended]);
    if (line === "interrupted") return 130;
    if (line === null || !await conversation.take(line.text, interrupts.next())) return 0;
    if (engine.health === "dead") throw await engine.dead;
  }
}

/** Ctrl-C ends the turn that runs; without a terminal there is no next turn to type, so it ends the program too. */
function onInterrupts(
  terminal: boolean,
): { next(): AbortSignal; readonly ended: Promise<"interrupted"> } & Disposable {
  const { promise, resolve } = Promise.withResolvers<"interrupted">();
  let controller = new AbortController();
  const listener = () => {
    controller.abort();
    if (!terminal) resolve("interrupted");
  };
  Deno.addSignalListener("SIGINT", listener);
  return {
    next() {
      if (terminal) controller = new AbortController();
      return controller.signal;
    },
    ended: promise,
    [Symbol.dispose]: () => Deno.removeSignalListener("SIGINT", listener),
  };
}
