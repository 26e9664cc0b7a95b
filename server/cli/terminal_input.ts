// Keys from the terminal, one line at a time. What is typed or pasted behind a line's end waits for the next line, and
// a paste that the terminal marks as one (bracketed paste, "\x1b[200~" … "\x1b[201~") stays one line: line ends in it
// become a visible sign until the line is complete.

import process from "node:process";
import { PassThrough, type Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import { drawsBars } from "./terminal.ts";

const lineEndSign = "⏎";
const pasteBegins = "\x1b[200~";
const pasteEnds = "\x1b[201~";
/** The beginning of a mark, or of a line end, whose rest may be still to come. */
// deno-lint-ignore no-control-regex
const unfinished = /(?:\x1b(?:\[(?:2(?:0[01]?)?)?)?|\r)$/;

/** What a line is read from; disposing of it leaves the terminal in its normal state. */
export interface LineInput extends Disposable {
  /** For `readline`: keys up to the line's end. */
  readonly stream: Readable;
}

/** The terminal's keys. */
export class TerminalInput {
  readonly #splitter = new PasteSplitter();
  readonly #decoder = new StringDecoder("utf8");

  /** The text that was typed or pasted, from the line that `readline` gives. */
  static original(line: string): string {
    return line.replaceAll(lineEndSign, "\n");
  }

  /** The other way round. */
  static oneLine(text: string): string {
    return text.replaceAll("\n", lineEndSign);
  }

  /** Begins to read keys. */
  nextLine(): LineInput {
    const { stdin } = process;
    const marks = drawsBars();
    const stream = Object.assign(new PassThrough(), {
      isTTY: true,
      setRawMode: (raw: boolean) => stdin.setRawMode(raw),
    });
    let complete = false;
    const pass = () => {
      if (complete) return;
      const { text, ends } = this.#splitter.take();
      complete = ends;
      if (text !== "") stream.write(text);
    };
    const onData = (chunk: Uint8Array) => {
      this.#splitter.push(this.#decoder.write(chunk));
      pass();
    };
    const onEnd = () => stream.end();
    stdin.on("data", onData).on("end", onEnd).resume();
    if (marks) process.stderr.write("\x1b[?2004h");
    // After `readline` has begun to listen.
    queueMicrotask(pass);
    return {
      stream,
      [Symbol.dispose]() {
        stdin.off("data", onData).off("end", onEnd).pause();
        if (marks) process.stderr.write("\x1b[?2004l");
      },
    };
  }
}

/** Cuts what comes from a terminal into lines, and makes one line of a marked paste. */
export class PasteSplitter {
  #waiting = "";
  #pasting = false;

  /** Characters as they come. */
  push(text: string): void {
    this.#waiting += text;
  }

  /** What there is of the line: all that waits, or as far as the line's end, which is part of it. */
  take(): { readonly text: string; readonly ends: boolean } {
    let text = "";
    while (this.#waiting !== "") {
      const mark = this.#waiting.indexOf(this.#pasting ? pasteEnds : pasteBegins);
      const end = this.#pasting ? -1 : this.#waiting.search(/[\r\n]/);
      if (end >= 0 && (mark < 0 || end < mark)) {
        text += this.#cut(end + 1);
        return { text, ends: true };
      }
      if (mark < 0) {
        const rest = unfinished.exec(this.#waiting)?.index ?? this.#waiting.length;
        text += this.#plain(this.#cut(rest));
        break;
      }
      text += this.#plain(this.#cut(mark));
      this.#cut(pasteBegins.length);
      this.#pasting = !this.#pasting;
    }
    return { text, ends: false };
  }

  #cut(length: number): string {
    const text = this.#waiting.slice(0, length);
    this.#waiting = this.#waiting.slice(length);
    return text;
  }

  /** In a paste nothing is a key: line ends become signs, other control characters go. */
  #plain(text: string): string {
    if (!this.#pasting) return text;
    // deno-lint-ignore no-control-regex
    return text.replaceAll(/\r\n|\r|\n/g, lineEndSign).replaceAll(/[\x00-\x08\x0b-\x1f\x7f]/g, "");
  }
}
