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
