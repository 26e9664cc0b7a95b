// Lines from standard input: edited and with history on a terminal, as they come from a pipe or a file.

import { createInterface } from "node:readline/promises";
import process from "node:process";

/** Lines that somebody types, or that a pipe brings. */
export interface LineReader extends AsyncDisposable {
  /** The next line; null at the end of the input (Ctrl-D). */
  read(prompt: string): Promise<{ readonly text: string } | null>;
}

/** Asks on a terminal. Ctrl-C empties the line. */
export class TerminalReader implements LineReader {
  #history: string[] = [];

  async read(prompt: string): Promise<{ text: string } | null> {
    // One interface per line: between lines the terminal is in its normal state, and Ctrl-C is a signal.
    const lines = createInterface({
      input: process.stdin,
      output: process.stderr,
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
    return line === null ? null : { text: line };
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

  async read(): Promise<{ text: string } | null> {
    while (true) {
      const end = this.#rest.indexOf("\n");
      if (end >= 0) {
        const line = this.#rest.slice(0, end);
        this.#rest = this.#rest.slice(end + 1);
        return { text: line.replace(/\r$/, "") };
      }
      if (this.#ended) {
        const last = this.#rest;
        this.#rest = "";
        return last === "" ? null : { text: last };
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
