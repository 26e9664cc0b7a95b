// Messages from standard input: lines, edited and with history on a terminal, as they come from a pipe or a file; and
// several lines as one message, when they are pasted or stand between two """.

import { createInterface } from "node:readline/promises";
import process from "node:process";
import { TerminalInput } from "./terminal_input.ts";

/** Lines that somebody types, or that a pipe brings. */
export interface LineReader extends AsyncDisposable {
  /** The next line (with line ends in it when it was pasted); null at the end of the input (Ctrl-D). */
  read(prompt: string): Promise<string | null>;
}

const quotes = '"""';

/** The next line, or all lines between two `"""`; null at the end of the input. */
export async function readMessage(lines: LineReader): Promise<string | null> {
  const first = await lines.read("> ");
  if (!first?.trimStart().startsWith(quotes)) return first;
  let text = first.trimStart().slice(quotes.length);
  while (!text.trimEnd().endsWith(quotes)) {
    const next = await lines.read("… ");
    if (next === null) return text;
    text += `\n${next}`;
  }
  return text.trimEnd().slice(0, -quotes.length);
}

/** Asks on a terminal. Ctrl-C empties the line. */
export class TerminalReader implements LineReader {
  readonly #keys = new TerminalInput();
  #history: string[] = [];

  async read(prompt: string): Promise<string | null> {
    // One interface per line: between lines the terminal is in its normal state, and Ctrl-C is a signal.
    using input = this.#keys.nextLine();
    const lines = createInterface({
      input: input.stream,
      output: process.stderr,
      terminal: true,
      history: this.#history,
      historySize: 1000,
      removeHistoryDuplicates: true,
    });
    const { promise: closed, resolve } = Promise.withResolvers<null>();
    lines.on("close", () => resolve(null));
    lines.on("history", (history: string[]) => this.#history = [...history]);
    lines.on("SIGINT", () => {
      // Ctrl-U and a fresh prompt.
      lines.write(null, { ctrl: true, name: "e" });
      lines.write(null, { ctrl: true, name: "u" });
    });
    const line = await Promise.race([lines.question(prompt), closed]);
    lines.close();
    if (line === null) process.stderr.write("\n");
    return line === null ? null : TerminalInput.original(line);
  }

  /** Gives the terminal back. */
  [Symbol.asyncDispose](): Promise<void> {
    process.stdin.pause();
    return Promise.resolve();
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
