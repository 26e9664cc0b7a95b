// `radish chat`: a conversation in the terminal. Ctrl-C ends the answer, Ctrl-D or /exit the program. Piped input
// is answered line by line, with nothing but the answers on standard output.

import { writeOut } from "./output.ts";
import type { ChatOptions } from "./command_options.ts";
import { Conversation } from "./conversation.ts";
import { type LineReader, readMessage, StreamReader, TerminalReader } from "./line_reader.ts";
import { UsageError } from "./option.ts";
import { checkSampling, samplingParams } from "./sampling_options.ts";
import { startSession } from "./session.ts";

/** Runs the command. */
export async function chat({ own, sampling, ...options }: ChatOptions): Promise<number> {
  checkSampling(sampling);
  if (options.engine.skipTokenizer) throw new UsageError("chat needs a tokenizer");
  await using session = await startSession(options, false);
  const { engine } = session;
  if (!engine.model.hasChatTemplate) {
    throw new Error(`${engine.model.id} has no chat template; use generate --raw`);
  }

  const terminal = Deno.stdin.isTerminal();
  await using lines: LineReader = terminal ? new TerminalReader() : new StreamReader(Deno.stdin.readable);
  const conversation = new Conversation(engine, {
    params: samplingParams(sampling, engine.model.generationDefaults),
    system: own.system ?? null,
    stats: own.stats,
    color: Deno.stdout.isTerminal() && !Deno.noColor,
    showReasoning: !own.hideReasoning,
  }, {
    write: writeOut,
    note: (text) => console.error(text),
    reading: (fraction) => session.progress.reading(fraction),
    save: (path, text) => Deno.writeTextFile(path, text),
  });
  if (terminal && !options.common.quiet) console.error(`${engine.model.id}: /help explains, Ctrl-D leaves`);

  using interrupts = onInterrupts(terminal);
  while (true) {
    const line = await Promise.race([readMessage(lines), interrupts.ended]);
    if (line === "interrupted") return 130;
    if (line === null || !await conversation.take(line, interrupts.next())) return 0;
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
