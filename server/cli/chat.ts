// `radish chat`: a conversation in the terminal. Ctrl-C ends the answer, Ctrl-D or /exit the program. Piped input
// is answered line by line, with nothing but the answers on standard output.

import { writeOut } from "./output.ts";
import type { chatOptions, Parsed } from "./command_options.ts";
import type { Engine } from "../../engine/engine.ts";
import { commandNames, Conversation } from "./conversation.ts";
import type { SessionOptions } from "./engine_options.ts";
import { historyPath } from "./history.ts";
import { Interrupted } from "./interrupt.ts";
import { type LineReader, readMessage, StreamReader, TerminalReader } from "./line_reader.ts";
import { UsageError } from "./option.ts";
import { checkSampling, samplingParams } from "./sampling_options.ts";
import { type Session, startSession } from "./session.ts";
import { unseenKeys, windowSize } from "./terminal.ts";

/** Runs the command. */
export async function chat({ own, sampling, ...options }: Parsed<typeof chatOptions>): Promise<number> {
  checkSampling(sampling);
  if (options.engine.skipTokenizer) throw new UsageError("chat needs a tokenizer");
  await using seat = new Seat(options);
  await seat.start();
  const terminal = Deno.stdin.isTerminal();
  await using lines: LineReader = terminal
    ? new TerminalReader(commandNames, historyPath())
    : new StreamReader(Deno.stdin.readable);
  const paramsFor = () => samplingParams(sampling, seat.engine.model.generationDefaults);
  const conversation = new Conversation(seat.engine, {
    params: paramsFor(),
    system: own.system ?? null,
    stats: own.stats,
    color: Deno.stdout.isTerminal() && !Deno.noColor,
    showReasoning: !own.hideReasoning,
  }, {
    write: writeOut,
    note: (text) => console.error(text),
    reading: (fraction) => seat.session.progress.reading(fraction),
    window: Deno.stdout.isTerminal() ? windowSize : null,
    async load(name) {
      await seat.start(name);
      return { engine: seat.engine, params: paramsFor() };
    },
    save: (path, text) => Deno.writeTextFile(path, text),
  });
  if (terminal && !options.common.quiet) {
    console.error(`${seat.engine.model.id}: /help explains, Ctrl-D leaves`);
  }

  using interrupts = onInterrupts(terminal);
  while (true) {
    const line = await Promise.race([readMessage(lines, conversation.takeDraft()), interrupts.ended]);
    if (line === "interrupted") return 130;
    if (line === null) return 0;
    using _keys = terminal ? unseenKeys() : null;
    if (!await conversation.take(line, interrupts.next())) return 0;
    if (seat.engine.health === "dead") throw await seat.engine.dead;
  }
}

/** The one engine of a conversation, which another can take the place of: two models may not fit at once. */
class Seat implements AsyncDisposable {
  #options: SessionOptions;
  #session: Session | null = null;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  get session(): Session {
    return this.#session!;
  }

  get engine(): Engine {
    return this.session.engine;
  }

  /** Starts the model of the options, or `name` in its place. If that fails, the one before is started again. */
  async start(name?: string): Promise<void> {
    const before = this.#options;
    await this[Symbol.asyncDispose]();
    try {
      await this.#start(name === undefined ? before : { ...before, engine: { ...before.engine, name } });
    } catch (error) {
      if (name === undefined || error instanceof Interrupted) throw error;
      console.error(`radish: ${error instanceof Error ? error.message : error}`);
      await this.#start(before);
    }
  }

  async #start(options: SessionOptions): Promise<void> {
    const session = await startSession(options, false);
    if (!session.engine.model.hasChatTemplate) {
      await session[Symbol.asyncDispose]();
      throw new Error(`${session.engine.model.id} has no chat template; use generate --raw`);
    }
    this.#session = session;
    this.#options = options;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session?.[Symbol.asyncDispose]();
    this.#session = null;
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
