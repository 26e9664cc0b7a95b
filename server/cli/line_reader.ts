// Messages from standard input: lines, edited and with history on a terminal, as they come from a pipe or a file; and
// several lines as one message, when they are pasted or stand between two """.

import { createInterface } from "node:readline/promises";
import process from "node:process";
import { readHistory, writeHistory } from "./history.ts";
import { TerminalInput } from "./terminal_input.ts";

/** Lines that somebody types, or that a pipe brings. */
export interface LineReader extends AsyncDisposable {
  /**
   * The next line (with line ends in it when it was pasted); null at the end of the input (Ctrl-D).
   * @param draft What stands in the line already, where there is a line to edit.
   */
  read(prompt: string, draft?: string): Promise<string | null>;
}

const quotes = '"""';

/** The next line, or all lines between two `"""`; null at the end of the input. */
export async function readMessage(lines: LineReader, draft = ""): Promise<string | null> {
  const first = await lines.read("> ", draft);
  if (!first?.trimStart().startsWith(quotes)) return first;
  let text = first.trimStart().slice(quotes.length);
  while (!text.trimEnd().endsWith(quotes)) {
    const next = await lines.read("… ");
    if (next === null) return text;
    text += `\n${next}`;
  }
  return text.trimEnd().slice(0, -quotes.length);
}

/** Asks on a terminal. Ctrl-C empties the line, arrows bring back earlier ones, Tab completes commands. */
export class TerminalReader implements LineReader {
  readonly #keys = new TerminalInput();
  readonly #commands: readonly string[];
  readonly #path: string | null;
  #history: string[] | null = null;

  /** `commands` can be completed; `path` keeps the history between sessions. */
  constructor(commands: readonly string[] = [], path: string | null = null) {
    this.#commands = commands;
    this.#path = path;
  }

  async read(prompt: string, draft = ""): Promise<string | null> {
    this.#history ??= await readHistory(this.#path);
    // One interface per line: between lines the terminal is in its normal state, and Ctrl-C is a signal.
    using input = this.#keys.nextLine();
    const lines = createInterface({
      input: input.stream,
      output: process.stderr,
      terminal: true,
      history: this.#history,
      historySize: 1000,
      removeHistoryDuplicates: true,
      completer: (
        line: string,
      ): [string[], string] => [this.#commands.filter((command) => command.startsWith(line)), line],
    });
    const { promise: closed, resolve } = Promise.withResolvers<null>();
    lines.on("close", () => resolve(null));
    lines.on("history", (history: string[]) => this.#history = [...history]);
    lines.on("SIGINT", () => {
      // Ctrl-U and a fresh prompt.
      lines.write(null, { ctrl: true, name: "e" });
      lines.write(null, { ctrl: true, name: "u" });
    });
    const answer = lines.question(prompt);
    if (draft !== "") lines.write(TerminalInput.oneLine(draft));
    const line = await Promise.race([answer, closed]);
    lines.close();
    if (line === null) process.stderr.write("\n");
    return line === null ? null : TerminalInput.original(line);
  }

  /** Keeps the history and gives the terminal back. */
  async [Symbol.asyncDispose](): Promise<void> {
    process.stdin.pause();
    if (this.#history !== null) await writeHistory(this.#path, this.#history);
  }
}

/** Reads a stream of bytes line by line; prompts are not shown. */
export class StreamReader implements LineReader {
  readonly #reader: ReadableStreamDefaultReader<string>;
  #rest = "";
  #ended = false;

  /** Bytes of UTF-8. */
  constructor(input: ReadableStream<Uint8Array>) {
    this.#reader = input.pipeThrough(new TextDecoderStream()).getReader();
  }

  async read(): Promise<string | null> {
    while (true) {
      const end = this.#rest.indexOf("\n");
      if (end >= 0) {
        const line = this.#rest.slice(0, end);
        this.#rest = this.#rest.slice(end + 1);
        return line.replace(/\r$/, "");
      }
      if (this.#ended) {
        const last = this.#rest;
        this.#rest = "";
        return last === "" ? null : last;
      }
      const { done, value } = await this.#reader.read();
      if (done) this.#ended = true;
      else this.#rest += value;
    }
  }

  /** Stops reading. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reader.cancel();
  }
}
