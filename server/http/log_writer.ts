// Lines for standard error that can neither stop nor slow the server: they are written one after the other in the
// background, a bounded number waits, and what cannot be written (the disk is full, the reader is gone) is dropped
// and counted. Whatever a client can put into a line is escaped, so that it stays one line.

/** Where bytes go, as `Deno.stderr`. */
export interface LogSink {
  /** Writes some of the bytes, and says how many. */
  write(bytes: Uint8Array): Promise<number>;
}

/** UTF-16 units that wait at most. */
const mostWaiting = 1 << 20;
const encoder = new TextEncoder();

/** Writes lines to a sink. */
export class LogWriter {
  /** Lines that were not written. */
  dropped = 0;
  readonly #sink: LogSink;
  #waiting: string[] = [];
  #length = 0;
  #writing: Promise<void> | null = null;

  /** Nothing is written yet. */
  constructor(sink: LogSink = Deno.stderr) {
    this.#sink = sink;
  }

  /** Takes a line, without its end. Never throws and never waits. */
  write(line: string): void {
    if (this.#length + line.length > mostWaiting) {
      this.dropped++;
      return;
    }
    this.#waiting.push(escapeControls(line));
    this.#length += line.length;
    this.#writing ??= this.#run();
  }

  /** Resolves when everything so far has been written or dropped. */
  async flush(): Promise<void> {
    while (this.#writing) await this.#writing;
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const lines = this.#waiting;
      this.#waiting = [];
      this.#length = 0;
      let bytes = encoder.encode(lines.join("\n") + "\n");
      try {
        while (bytes.length > 0) bytes = bytes.subarray(await this.#sink.write(bytes));
      } catch {
        this.dropped += lines.length; // There is no other place to say so; the metrics do.
      }
    }
    this.#writing = null;
  }
}

/** Control characters, and those that turn the direction of text or separate lines, as `\n`, `\x1b` or `\u202e`. */
export function escapeControls(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g, (character) => {
    const code = character.charCodeAt(0);
    if (character === "\n") return "\\n";
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16)}`;
  });
}
