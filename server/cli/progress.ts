// Progress on standard error: a bar on a terminal, plain lines otherwise, nothing with --quiet.

const barWidth = 28;
const encoder = new TextEncoder();

/** Shows how far something has got. Calls may come as often as they like. */
export class Progress {
  readonly #quiet: boolean;
  readonly #terminal: boolean;
  #line = "";
  #shownAt = 0;

  /** `quiet` writes nothing at all. */
  constructor(quiet: boolean) {
    this.#quiet = quiet;
    this.#terminal = Deno.stderr.isTerminal();
  }

  /** `fraction` is 0 … 1. On a terminal the line is redrawn; elsewhere only slow work is worth a line. */
  update(message: string, fraction: number): void {
    if (this.#quiet) return;
    const now = performance.now();
    const done = fraction >= 1;
    if (this.#terminal) {
      if (!done && now - this.#shownAt < 50) return;
      this.#shownAt = now;
      const filled = Math.round(Math.min(1, fraction) * barWidth);
      const bar = "█".repeat(filled) + "░".repeat(barWidth - filled);
      this.#draw(`${message} ${bar} ${Math.floor(Math.min(1, fraction) * 100)} %`);
    } else if (!done && now - this.#shownAt > 2_000 && this.#shownAt > 0) {
      this.#shownAt = now;
      this.note(`${message}: ${Math.floor(fraction * 100)} %`);
    } else if (this.#shownAt === 0) {
      this.#shownAt = now;
    }
  }

  /** How much of a prompt has been computed; null takes it away. */
  reading(fraction: number | null): void {
    if (fraction === null) this.clear();
    else this.update("reading the prompt", fraction);
  }

  /** A line that stays. */
  note(text: string): void {
    if (this.#quiet) return;
    this.clear();
    this.#write(`${text}\n`);
  }

  /** Removes the bar. */
  clear(): void {
    if (this.#line !== "") this.#draw("");
  }

  #draw(line: string): void {
    this.#write(`\r\x1b[K${line}`);
    this.#line = line;
  }

  /** Progress that cannot be shown is no reason to stop. */
  #write(text: string): void {
    try {
      let bytes = encoder.encode(text);
      while (bytes.length > 0) bytes = bytes.subarray(Deno.stderr.writeSync(bytes));
    } catch { /* the disk under the log is full, or its reader is gone */ }
  }
}
