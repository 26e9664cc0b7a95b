// Progress on standard error: a bar on a terminal, plain lines otherwise, nothing with --quiet.

import { columns, drawsBars } from "./terminal.ts";

const widestBar = 28;
/** A bar of fewer cells says less than the number beside it. */
const narrowestBar = 8;
/** Milliseconds between two drawings. */
const interval = 50;
const encoder = new TextEncoder();

/** Shows how far something has got. Calls may come as often as they like. */
export class Progress {
  readonly #quiet: boolean;
  readonly #bars = drawsBars();
  #line = "";
  #shownAt = 0;
  #latest: () => void = () => {};
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `quiet` writes nothing at all. */
  constructor(quiet: boolean) {
    this.#quiet = quiet;
  }

  /** `fraction` is 0 … 1. On a terminal the line is redrawn; elsewhere only slow work is worth a line. */
  update(message: string, fraction: number): void {
    if (this.#quiet) return;
    const now = performance.now();
    const done = fraction >= 1;
    if (this.#bars) {
      this.#latest = () => {
        this.#shownAt = performance.now();
        this.#draw(progressLine(message, fraction, columns()));
      };
      const wait = this.#shownAt + interval - now;
      if (wait > 0) this.#timer ??= setTimeout(this.#drawLatest, wait); // so that what stalls shows how far it got
      else this.#drawLatest();
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
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#line !== "") this.#draw("");
  }

  readonly #drawLatest = () => {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#latest();
  };

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

/**
 * Message, bar and per cent in fewer than `width` columns: a line that fills the last column, or wraps, could not be
 * redrawn. Where there is no room the bar goes first, then the end of the message.
 */
export function progressLine(message: string, fraction: number, width: number): string {
  const share = Math.min(1, Math.max(0, fraction));
  const percent = `${Math.floor(share * 100)} %`;
  const cells = Math.min(widestBar, width - 1 - message.length - percent.length - 2);
  if (cells >= narrowestBar) {
    const filled = Math.round(share * cells);
    return `${message} ${"█".repeat(filled)}${"░".repeat(cells - filled)} ${percent}`;
  }
  const room = Math.max(0, width - 2 - percent.length);
  const text = message.length > room ? `${message.slice(0, Math.max(0, room - 1))}…` : message;
  return `${text} ${percent}`.slice(0, Math.max(0, width - 1));
}
