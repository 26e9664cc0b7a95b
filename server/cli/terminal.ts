// What the terminal can do.

/** Whether escape sequences and bars make sense on standard error; TERM=dumb says that they do not. */
export function drawsBars(): boolean {
  return Deno.stderr.isTerminal() && Deno.env.get("TERM") !== "dumb";
}

/** A window's size in characters. */
export interface WindowSize {
  readonly columns: number;
  readonly rows: number;
}

/** The terminal's size, asked anew because it may have been resized; 80 × 24 where there is none. */
export function windowSize(): WindowSize {
  try {
    const { columns, rows } = Deno.consoleSize();
    return { columns: columns || 80, rows: rows || 24 };
  } catch {
    return { columns: 80, rows: 24 };
  }
}

/** Its columns. */
export function columns(): number {
  return windowSize().columns;
}

/** Columns for help: lines longer than this are hard to read. */
export function helpWidth(): number {
  return Deno.stdout.isTerminal() ? Math.max(40, Math.min(columns(), 120)) : 80;
}

/**
 * Keys are not shown until it is disposed of: what is typed while an answer is printed, the ^C of a Ctrl-C too, would
 * move the text behind the printer's back. They wait for the next line, and Ctrl-C stays a signal.
 */
export function unseenKeys(): Disposable {
  const set = (on: boolean) => {
    try {
      Deno.stdin.setRaw(on, { cbreak: true });
    } catch {
      // Windows has no such mode, and shows nothing there.
    }
  };
  set(true);
  return { [Symbol.dispose]: () => set(false) };
}
